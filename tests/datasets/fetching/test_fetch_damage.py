"""Only whole, checked raw files count."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from splitleak.datasets.reading import fetch

from .raw_records import nothing_built, pack, published


def test_missing_files_and_records_are_named(raw: Path, get: Any) -> None:
    (raw / "900.atr").unlink()
    for file in raw.glob("901.*"):
        file.unlink()
    status, _, complaints = get("mitbih", "--from", "raw", "--out", "o")
    assert (status, len(complaints)) == (2, 1)
    assert "--from 'raw': missing 900.atr, 901.* (6 files are needed)" in complaints[0]
    assert nothing_built(Path("o"))


def test_a_damaged_file_of_a_folder_is_named_and_left_as_it_is(raw: Path, get: Any) -> None:
    damaged = bytearray((raw / "901.dat").read_bytes())
    damaged[77] ^= 1
    (raw / "901.dat").write_bytes(damaged)
    status, _, complaints = get("mitbih", "--from", "raw", "--out", "o")
    assert (status, len(complaints)) == (2, 1)
    assert re.search(r"'raw/901.dat' is damaged: sha256 \w{12}... of 10800 bytes, published is \w{12}", complaints[0])
    assert (raw / "901.dat").read_bytes() == damaged
    assert nothing_built(Path("o"))


def test_a_header_may_have_either_line_end_but_no_other_content(raw: Path, get: Any) -> None:
    header = raw / "900.hea"
    header.write_bytes(published(header))
    assert get("mitbih", "--from", "raw", "--out", "o")[0] == 0
    header.write_bytes(header.read_bytes().replace(b"MLII", b"MLI"))
    assert "900.hea' is damaged" in get("mitbih", "--from", "raw", "--out", "o")[2][0]


def test_a_damaged_member_of_an_archive_is_named(raw: Path, get: Any) -> None:
    (raw / "901.atr").write_bytes(b"no annotations")
    status, _, complaints = get("mitbih", "--from", str(pack(raw, "txz")), "--out", "o")
    assert (status, len(complaints)) == (2, 1)
    assert re.search(r"'901.atr' in '.*records.txz' is damaged: sha256", complaints[0])


def test_a_wrong_number_of_beats_is_an_error(raw: Path, get: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "COUNTS", (3, 4, 4, 4, 4))
    status, _, complaints = get("mitbih", "--from", "raw", "--out", "o")
    assert (status, len(complaints)) == (2, 1)
    assert "18 beats (N 2, L 4, R 4, A 4, V 4); published are 19 (N 3, L 4" in complaints[0]
    assert nothing_built(Path("o"))
