"""Two small records in place of the database, and the command that builds files from them."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from splitleak.datasets.reading import download, fetch, mitbih_beats

from .raw_records import published, write_record


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the records 900 and 901, which are the whole database here."""
    folder = tmp_path / "raw"
    for record in (900, 901):
        write_record(folder, record)
    lines = [f"{sha256(published(f)).hexdigest()}  {f.name}\n" for f in sorted(folder.iterdir())]
    (tmp_path / "sums").write_text("".join(["# two records\n", *lines]))
    monkeypatch.setattr(mitbih_beats, "CHECKSUMS", tmp_path / "sums")
    monkeypatch.setattr(fetch, "RECORDS", (900, 901))
    monkeypatch.setattr(fetch, "COUNTS", (2, 4, 4, 4, 4))
    monkeypatch.setattr(fetch, "DRAWN", (60, 60, 60, 24, 60))
    monkeypatch.setattr(fetch, "URL", "http://127.0.0.1:9")  # nobody is there
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPLITLEAK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def get(raw: Path, main: Callable[..., Any]) -> Callable[..., tuple[int, str, list[str]]]:
    """get("mitbih", ...): exit status of `splitleak fetch`, what it said, and its complaints without the bars."""

    def call(*args: str) -> tuple[int, str, list[str]]:
        ran = main("fetch", *args)
        assert "Traceback" not in ran.err
        bar = re.compile(r" \d+/\d+ \[")
        said = [line for line in re.split(r"[\r\n]+", ran.err) if line.strip() and not bar.search(line)]
        return ran.status, ran.out, said

    return call
