"""Folders that cannot be written and files that are not what was written: named, nothing lost, done again."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from splitleak.sealed import pack_json, unpack_json

from ..conftest import Lab

AXES = 'attack = ["blind", "./toy_peek.py"]\ndefense = ["none", { name = "laplace_range", epsilon = 5 }]'


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of AXES and their table, undisturbed."""
    made = Lab(tmp_path_factory.mktemp("whole"))
    assert made.process("run", made.matrix(AXES), "--out", "whole", "--workers", "1").status == 0
    return made.folder / "whole"


@pytest.fixture
def done(lab: Any, whole: Path) -> Any:
    """A lab with a finished run of AXES in `out`, and the same in `whole` to compare with."""
    lab.matrix(AXES)
    for name in ("out", "whole"):
        shutil.copytree(whole, lab.folder / name)
    return lab


def truncated(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def garbage(content: bytes) -> bytes:
    return bytes(range(256)) * 4


def empty(content: bytes) -> bytes:
    return b""


def another_cells(content: bytes) -> bytes:
    return content.replace(b'"epochs": 1', b'"epochs": 2')


def a_list(content: bytes) -> bytes:
    return b"[1, 2]"


@pytest.mark.parametrize("damage", [truncated, garbage, empty, another_cells, a_list])
def test_damaged_record_is_named_set_aside_and_done_again(done: Any, main: Any, damage: Callable[..., bytes]) -> None:
    before = done.files()
    path = sorted(done.out.glob("records/*.json"))[0]
    path.write_bytes(damage(path.read_bytes()))
    spoilt = path.read_bytes()
    ran = main("run", "m.toml", "--out", "out")
    assert ran.status == 0
    assert re.search(rf"splitleak: 'out/records/{path.name}' is damaged .*set aside as '{path.name}.damaged'", ran.err)
    assert path.with_name(f"{path.name}.damaged").read_bytes() == spoilt
    after = done.files()
    assert {k for k in before if before[k] != after[k]} == {f"records/{path.name}"}  # nothing else was done again
    assert done.csv() == done.csv("whole")


def flipped(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1  # one bit of one weight
    path.write_bytes(bytes(content))


def other_shapes(path: Path, other: Path) -> None:
    with safe_open(path, framework="pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        told = file.metadata()
    save_file({name: t[:1].contiguous() for name, t in kept.items()}, path, metadata=told)


def other_victims(path: Path, other: Path) -> None:
    shutil.copy(other, path)


def no_facts(path: Path, other: Path) -> None:
    with safe_open(path, framework="pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(kept, path)


def contents(damage: Callable[[bytes], bytes]) -> Callable[[Path, Path], None]:
    return lambda path, other: path.write_bytes(damage(path.read_bytes())) and None


VICTIMS = {damage.__name__: contents(damage) for damage in (truncated, garbage, empty)}
VICTIMS |= {damage.__name__: damage for damage in (flipped, other_shapes, other_victims, no_facts)}


@pytest.mark.slow
@pytest.mark.parametrize("damage", VICTIMS)
def test_damaged_victim_is_named_set_aside_and_trained_again(done: Any, main: Any, damage: str) -> None:
    of_record = next(
        p for p in done.out.glob("records/*.json") if json.loads(p.read_text())["labels"]["attack"] != "blind"
    )
    undefended = json.loads(of_record.read_text())["cell"]["defense"]["name"] == "none"
    of_record.unlink()
    victims = {told_of(p): p for p in done.out.glob("victims/*.safetensors") if not p.name.startswith("judge")}
    path, other = (victims[d] for d in (("none", "laplace_range") if undefended else ("laplace_range", "none")))
    VICTIMS[damage](path, other)
    ran = main("run", "m.toml", "--out", "out")
    assert ran.status == 0
    assert re.search(rf"splitleak: 'out/victims/{path.name}' is damaged .*set aside as '{path.name}.damaged'", ran.err)
    assert done.csv() == done.csv("whole")
    assert told_of(path) != told_of(other)


def told_of(path: Path) -> str:
    with safe_open(path, framework="pt") as file:
        return str(json.loads(file.metadata()["facts"])["victim"]["defense"]["name"])


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_damaged_judge_is_named_set_aside_and_trained_again(done: Any, main: Any, workers: str) -> None:
    next(done.out.glob("records/*.json")).unlink()
    judge = next(done.out.glob("victims/judge-*"))
    judge.write_bytes(b"no judge")
    ran = main("run", "m.toml", "--out", "out", "--workers", workers)
    assert ran.status == 0
    assert f"'out/victims/{judge.name}' is damaged" in ran.err
    assert done.csv() == done.csv("whole")


def test_record_of_another_schema_is_refused_by_name_and_kept(done: Any, main: Any) -> None:
    path = next(done.out.glob("records/*.json"))
    path.write_bytes(pack_json(unpack_json(path.read_bytes()) | {"schema": 99}))
    before = done.files()
    line = main("run", "m.toml", "--out", "out").line
    assert re.search(rf"record 'out/records/{path.name}' has schema 99, this version reads 1: use another --out", line)
    assert path.name in main("leaderboard", "out", "-o", "all.csv").line
    assert done.files() == before
    assert not Path("all.csv").exists()


def test_folder_below_a_file_is_refused(lab: Any, main: Any) -> None:
    lab.write("file", "not a folder")
    line = main("run", lab.matrix(), "--out", "file/out").line
    assert "--out 'file/out' cannot be written: Not a directory" in line
    assert (lab.folder / "file").read_text() == "not a folder"


def test_leaderboard_that_cannot_be_written_is_one_line(done: Any, main: Any) -> None:
    assert "cannot write 'm.toml/all.csv'" in main("leaderboard", "out", "-o", "m.toml/all.csv").line


def test_second_run_in_a_folder_is_refused(done: Any, main: Any) -> None:
    before = done.files()
    with (done.out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main("run", "m.toml", "--out", "out").line == "splitleak: --out 'out': another run is using it"
    assert done.files() == before
    assert main("run", "m.toml", "--out", "out").status == 0


@pytest.mark.slow
@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("works", range(0, 8, 2))
def test_full_disk_is_one_line_and_the_next_run_goes_on(
    lab: Any, main: Any, monkeypatch: pytest.MonkeyPatch, whole: Path, call: str, works: int
) -> None:
    real, room = getattr(os, call), lab.write("room", "x" * works)  # in a file: each job has a process of its own

    def full(*args: Any) -> Any:
        if not room.stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.truncate(room, room.stat().st_size - 1)
        return real(*args)

    lab.matrix(AXES)
    monkeypatch.setattr(os, call, full)
    line = main("run", "m.toml", "--out", "out").line
    assert re.search("cannot write 'out/.*': No space left on device", line)
    monkeypatch.setattr(os, call, real)
    before = lab.files()
    pictures = [*lab.out.glob("pictures/*.png")]
    assert len(before) + len(pictures) == works  # every file that was finished, and no half one
    assert not list(lab.out.rglob("*.tmp"))
    assert main("run", "m.toml", "--out", "out").status == 0
    after = lab.files()
    assert {name: after[name] for name in before} == before
    shutil.copytree(whole, lab.folder / "whole")
    assert lab.csv() == lab.csv("whole")


@pytest.mark.slow
def test_workers_that_may_not_write_big_files_end_the_run_with_one_line(lab: Any, main: Any) -> None:
    lab.matrix(AXES)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))  # a record fits, a victim does not
    try:
        ran = lab.process("run", "m.toml", "--out", "out", "--workers", "2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert re.search(r"cannot write 'out/victims/.*': File too large", ran.line)
    assert not list(lab.out.rglob("*.tmp"))
    again = main("run", "m.toml", "--out", "out")
    assert again.status == 0, again.err
