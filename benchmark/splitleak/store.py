"""Files that are whole or absent. Each is written under a temporary name and renamed; a damaged one is set aside."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from splitleak.contract.errors import BadInput

SCHEMA = 1  # of records and keys


def write(path: Path, content: bytes) -> None:
    """Write a file in one step: if the process is killed, the old file or the new file is there, never a part."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        name = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with name.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            name.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BadInput(f"cannot write '{path}': {error.strerror or error}") from error


def write_json(path: Path, value: Any) -> None:
    write(path, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def digest(value: Any) -> str:
    """The sha256 of canonical JSON, short enough for a file name."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """A hash of all weights, names and shapes: two victims with the same fingerprint are bit-identical."""
    whole = hashlib.sha256()
    for name, t in sorted(tensors.items()):
        whole.update(f"{name} {t.dtype} {tuple(t.shape)}".encode())
        whole.update(t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()[:16]


class Store:
    """A results folder with records (`records/<key>.json`), victims (`victims/<key>.safetensors`) and pictures.

    A file that is there is finished.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.warnings: list[str] = []

    def record_path(self, key: str) -> Path:
        return self.folder / "records" / f"{key}.json"

    def victim_path(self, key: str) -> Path:
        return self.folder / "victims" / f"{key}.safetensors"

    def sweep(self) -> None:
        """Remove temporary files of runs that were killed."""
        for place in (self.folder, *(self.folder / name for name in ("records", "victims", "pictures"))):
            for left in place.glob(".*.tmp"):
                left.unlink(missing_ok=True)

    def record(self, key: str) -> dict[str, Any] | None:
        path = self.record_path(key)
        return read_record(path, self) if path.exists() else None

    def write_record(self, record: dict[str, Any]) -> None:
        write_json(self.record_path(record["key"]), record)

    def write_picture(self, title: str, png: bytes) -> str:
        """Keep a record's picture; returns its path below the folder."""
        write(self.folder / "pictures" / f"{title}.png", png)
        return f"pictures/{title}.png"

    def write_victim(self, key: str, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        whole = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        facts = {"fingerprint": fingerprint(whole)} | facts
        write(self.victim_path(key), save(whole, metadata={"facts": json.dumps(facts, allow_nan=False)}))

    def victim(self, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """(tensors, facts) of a kept victim, or None; a damaged file is set aside and trained again."""
        path = self.victim_path(key)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                facts: dict[str, Any] = json.loads((file.metadata() or {})["facts"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if fingerprint(tensors) != facts["fingerprint"]:
                raise ValueError("its tensors are not those that were written")
            return tensors, facts
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            self.set_aside(path, error)
            return None

    def victim_facts(self, key: str) -> dict[str, Any] | None:
        found = self.victim(key)
        return found[1] if found else None

    def set_aside(self, path: Path, error: Exception) -> None:
        aside = path.with_name(f"{path.name}.damaged")
        os.replace(path, aside)
        self.warnings.append(
            f"'{path}' is damaged ({type(error).__name__}: {error}); set aside as '{aside.name}', done again"
        )


def read_record(path: Path, store: Store | None = None) -> dict[str, Any] | None:
    """Read a record. A record of another schema is BadInput; a damaged one is set aside."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("key") != path.stem or "status" not in record:
            raise ValueError("not a record, or another cell's")
        if record.get("schema") == SCHEMA and digest(record.get("cell")) != path.stem:
            raise ValueError("its cell is not the one that its key stands for")
    except (ValueError, UnicodeDecodeError) as error:
        if store is None:
            raise BadInput(f"record '{path}' is damaged: {error}") from None
        store.set_aside(path, error)
        return None
    if record.get("schema") != SCHEMA:
        raise BadInput(
            f"record '{path}' has schema {record.get('schema')}, this version reads {SCHEMA}: use another --out"
        )
    return record


def read_records(folder: Path) -> list[dict[str, Any]]:
    """All records below a results folder, in the order of their keys."""
    inside = folder / "records"
    if not inside.is_dir():
        raise BadInput(f"'{folder}' has no records (no folder '{inside}')")
    found = (read_record(path) for path in sorted(inside.glob("*.json")))
    return [record for record in found if record is not None]


_locks: list[IO[str]] = []  # of the folders that this process is alone in


def _let_go() -> None:
    for lock in _locks:
        lock.close()  # in a fork alone: the lock stays this process's
    _locks.clear()


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def _kept_from_forks(lock: IO[str]) -> Iterator[None]:
    """A process that a plug-in forks and that outlives a killed run must not hold the lock of its folder."""
    _locks.append(lock)
    try:
        yield
    finally:
        if lock in _locks:
            _locks.remove(lock)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Lock a results folder for one run, and remove temporary files of runs that were killed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise BadInput(f"--out '{folder}' cannot be written: {error.strerror or error}") from None
    with lock, _kept_from_forks(lock):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BadInput(f"--out '{folder}': another run is using it") from None
        Store(folder).sweep()
        yield
