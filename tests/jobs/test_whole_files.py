"""A file is whole or absent: where writing stops half-way, the old file is there as it was, and nothing beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from splitleak import store
from splitleak.contract.errors import BadInput


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"])
@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_write_that_stops_half_way_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, stop: BaseException
) -> None:
    def stops(*given: object) -> None:
        raise stop

    path = tmp_path / "records" / "a.json"
    store.write(path, b"old and whole")
    monkeypatch.setattr(os, at, stops)
    with pytest.raises(BadInput if isinstance(stop, OSError) else KeyboardInterrupt):
        store.write(path, b"new, and twice as long as the old one")
    assert path.read_bytes() == b"old and whole"
    assert list(path.parent.iterdir()) == [path]


def test_nobody_ever_reads_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment at which the bytes are on the disk, the file has its old content still."""
    path, seen = tmp_path / "a.json", []
    store.write(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda number: seen.append(path.read_bytes()))
    store.write(path, b"new")
    assert seen == [b"old"]
    assert path.read_bytes() == b"new"
