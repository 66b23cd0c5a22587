"""A postponed call has the memory of the moment when it was made, runs later, and tells nothing but its answer."""

from __future__ import annotations

import mmap
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from splitleak import apart
from splitleak.contract.errors import Raised
from splitleak.postponed import Postponed

pytestmark = pytest.mark.skipif(not apart.possible(), reason="needs Linux")


def test_it_sees_the_memory_of_the_moment_when_it_was_made() -> None:
    weight = torch.zeros(3)
    calls = [Postponed(lambda: weight.add_(1).sum().item()) for _ in range(2) if weight.add_(1) is not None]
    weight.zero_()
    assert [call.answer() for call in calls] == [6, 9]


def test_it_runs_when_it_is_asked_and_not_before() -> None:
    reader, writer = os.pipe()
    call = Postponed(lambda: os.read(reader, 1).decode())  # of a pipe that is closed in it: see below
    assert Path(f"/proc/{call._child}").exists()
    with pytest.raises(Raised, match="Bad file descriptor"):
        call.answer()
    os.close(reader)
    os.close(writer)


def test_a_dropped_one_never_runs_and_its_process_is_gone() -> None:
    call = Postponed(lambda: 1)
    call.drop()
    call.drop()
    assert not Path(f"/proc/{call._child}").exists()


def test_exceptions_come_with_their_text() -> None:
    with pytest.raises(Raised, match="ValueError: no"):
        Postponed(lambda: (_ for _ in ()).throw(ValueError("no"))).answer()


def ways(folder: Path) -> dict[str, Callable[[], object]]:
    """What a thief may try so that something stays behind."""
    shared, tensor = mmap.mmap(-1, 4096), torch.zeros(8).share_memory_()
    ours, theirs = socket.socketpair()
    file = (folder / "open").open("wb", buffering=0)
    return {
        "file": lambda: (folder / "new").write_bytes(b"secret"),
        "open file": lambda: file.write(b"secret"),
        "socket": lambda: theirs.send(b"secret"),
        "shared memory": lambda: shared.write(b"secret"),
        "shared tensor": lambda: tensor.fill_(1),
        "memory": lambda: os.environ.update(secret="1"),
        "look": lambda: (bytes(shared[:6]), tensor.tolist(), ours.recv(1, socket.MSG_DONTWAIT)),
    }


@pytest.mark.parametrize("way", ["file", "open file", "socket", "shared memory", "shared tensor", "memory"])
def test_nothing_stays_behind(tmp_path: Path, way: str) -> None:
    tried = ways(tmp_path)
    if way == "memory":
        Postponed(lambda: tried[way]() and None).answer()
    else:
        with pytest.raises((apart.Died, Raised)):
            Postponed(lambda: bool(tried[way]())).answer()
    with pytest.raises(BlockingIOError):
        tried["look"]()
    assert [path.read_bytes() for path in tmp_path.iterdir()] in ([b""], [b"", b""])
    assert "secret" not in os.environ
