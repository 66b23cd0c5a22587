"""Files that are whole or absent. Each is written under a temporary name and renamed; a damaged one is set aside."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

import torch
from torch import Tensor

from splitleak import record_form
from splitleak.contract.errors import BadInput
from splitleak.printable import in_a_line
from splitleak.regular_file import require_regular
from splitleak.sealed import Unsealed, pack_json, pack_tensors, unpack_json, unpack_tensors

SCHEMA = 1  # of records and keys
MOST_OF_A_RECORD = 2**24  # bytes; the largest of the reference tables have some 10,000
T = TypeVar("T")


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

    A file that is there is finished. One that is not what was written is set aside under another name and made again;
    with `read_only`, as for a table of a stranger's folder, it is left out and stays. Either way `warnings` name it.
    """

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        self.folder, self.read_only = folder, read_only
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
        """The record of a cell, or None; BadInput for one of another schema."""
        found = self._read(self.record_path(key), MOST_OF_A_RECORD, partial(_record_of, key))
        if found is not None and found["schema"] != SCHEMA:
            what = f"record '{self.record_path(key)}' has schema {found['schema']}"
            raise BadInput(f"{what}, this version reads {SCHEMA}: use another --out")
        return found

    def record_keys(self) -> list[str]:
        """The keys of all records, in order; BadInput where there is no folder of records."""
        inside = self.folder / "records"
        if not inside.is_dir():
            raise BadInput(f"'{self.folder}' has no records (no folder '{inside}')")
        return [path.stem for path in sorted(inside.glob("*.json"))]

    def records(self) -> list[dict[str, Any]]:
        """All records, in the order of their keys."""
        return [record for key in self.record_keys() if (record := self.record(key)) is not None]

    def write_record(self, record: dict[str, Any]) -> None:
        """Keep a record; TypeError or ValueError for one that nobody could read."""
        record_form.check(record)
        write(self.record_path(record["key"]), pack_json(record))

    def write_picture(self, title: str, png: bytes) -> str:
        """Keep a record's picture; returns its path below the folder."""
        write(self.folder / "pictures" / f"{title}.png", png)
        return f"pictures/{title}.png"

    def write_victim(self, key: str, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        whole = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        facts = {"fingerprint": fingerprint(whole)} | facts
        write(self.victim_path(key), pack_tensors(whole, facts))

    def victim(self, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """(tensors, facts) of a kept victim, or None."""
        return self._read(self.victim_path(key), None, unpack_tensors)

    def victim_facts(self, key: str) -> dict[str, Any] | None:
        found = self.victim(key)
        return found[1] if found else None

    def _read(self, path: Path, most: int | None, unpack: Callable[[bytes], T]) -> T | None:
        """What is in a file, or None where there is none; one that cannot be read as such is set aside."""
        if not os.path.lexists(path):
            return None
        try:
            require_regular(path)
            if most is not None and path.stat().st_size > most:
                raise ValueError(f"it has more than {most} bytes")
            return unpack(path.read_bytes())
        except Unsealed as error:
            self._leave_out(path, f"is of an earlier version: {error}")
        except (ValueError, OSError) as error:
            self.set_aside(path, error)
        return None

    def set_aside(self, path: Path, error: Exception) -> None:
        """Rename a damaged file, and say so."""
        why = in_a_line(" ".join(str(getattr(error, "strerror", None) or error).split()))
        self._leave_out(path, f"is damaged ({why})")

    def _leave_out(self, path: Path, what: str) -> None:
        if self.read_only:
            self.warnings.append(f"'{path}' {what}; left out")
            return
        aside = _free(path.with_name(f"{path.name}.damaged"))
        try:
            os.replace(path, aside)
        except OSError as error:
            raise BadInput(f"'{path}' {what}, and cannot be set aside: {error.strerror or error}") from None
        self.warnings.append(f"'{path}' {what}; set aside as '{aside.name}', done again")


def _record_of(key: str, content: bytes) -> dict[str, Any]:
    """The record in the bytes of a file; ValueError if it is none, or another cell's. One of another schema passes."""
    record = unpack_json(content)
    if isinstance(record.get("schema"), int) and record["schema"] != SCHEMA:
        return record
    record_form.check(record)
    if record["key"] != key:
        raise ValueError("it is another cell's record")
    if digest(record["cell"]) != key:
        raise ValueError("its cell is not the one that its key stands for")
    return record


def _free(path: Path) -> Path:
    """This name, or the first of it with a number that nothing has."""
    numbered = (path.with_name(f"{path.name}{i or ''}") for i in itertools.count())
    return next(name for name in numbered if not os.path.lexists(name))


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
