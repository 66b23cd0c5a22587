"""Raw records come from a folder, an archive or an address."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from .raw_records import BUILT, content, nothing_built, pack, same


def test_a_folder_is_read_where_it_is(raw: Path, get: Any, tmp_path: Path) -> None:
    before = sorted(raw.iterdir())
    status, said, complaints = get("mitbih", "--from", str(raw), "--out", str(tmp_path / "o u t"))
    assert (status, complaints) == (0, [])
    assert f"18 beats of 2 records in {raw}" in said
    assert f"SPLITLEAK_DATA='{tmp_path / 'o u t'}'" in said
    assert sorted(raw.iterdir()) == before
    assert {f.name for f in (tmp_path / "o u t").iterdir()} == {*BUILT, ".lock"}
    built = content(tmp_path / "o u t")
    for part in ("train", "test"):
        assert built[f"x_{part}"].shape == (132, 1, 128)
        assert [built[f"{k}_{part}"].dtype for k in ("x", "y", "record", "rpeak")] == ["f4", "i8", "i2", "i4"]
        assert set(built[f"record_{part}"]) == {900, 901}


@pytest.mark.parametrize("kind", ["txz", "tar", "zip"])
def test_an_archive_gives_what_its_folder_gives(raw: Path, get: Any, tmp_path: Path, kind: str) -> None:
    assert get("mitbih", "--from", str(raw), "--out", "one")[0] == 0
    assert get("mitbih", "--from", str(pack(raw, kind)), "--out", "two")[::2] == (0, [])
    assert same(tmp_path / "one", tmp_path / "two")
    assert {f.name for f in (tmp_path / "two" / "mitdb").iterdir()} == {f.name for f in raw.iterdir()}


@pytest.mark.parametrize("kind", ["txz", "zip"])
def test_an_archive_that_ends_early_is_refused_and_goes_on_when_whole(raw: Path, get: Any, kind: str) -> None:
    archive = pack(raw, kind)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    status, _, complaints = get("mitbih", "--from", str(archive), "--out", "o")
    assert status == 2
    assert len(complaints) == 1
    assert re.search(f"records.{kind}': cannot be read as a tar or zip archive", complaints[0])
    assert nothing_built(Path("o"))
    archive.write_bytes(whole)
    assert get("mitbih", "--from", str(archive), "--out", "o")[0] == 0


@pytest.mark.parametrize("name", ["../../900.dat", "/900.dat", "900.dat"])
def test_nothing_of_an_archive_is_written_outside(raw: Path, get: Any, tmp_path: Path, name: str) -> None:
    """Named upwards or a link: refused or taken as if it were not there."""
    with tarfile.open("bad.tar", "w") as opened:
        member = tarfile.TarInfo(name)
        if "/" not in name:
            member.type, member.linkname = tarfile.SYMTYPE, str(raw / name)
        opened.addfile(member)
    before = {p for p in tmp_path.rglob("*") if p.name == "900.dat"}
    status, _, complaints = get("mitbih", "--from", "bad.tar", "--out", "deep/er/o")
    assert (status, len(complaints)) == (2, 1)
    assert {p for p in tmp_path.rglob("*") if p.name == "900.dat"} == before


MISTAKES = {
    "unknown dataset": (["mitbhi"], "no dataset named 'mitbhi' to fetch; did you mean 'mitbih'.*datasets: mitbih, pvc"),
    "no such folder": (["mitbih", "--from", "nowhere"], "--from 'nowhere': no such folder or archive"),
    "another protocol": (["mitbih", "--from", "ftp://x/y"], "--from 'ftp://x/y': no such folder.*no http"),
    "no archive": (["mitbih", "--from", "sums"], "--from 'sums': cannot be read as a tar or zip archive"),
    "nobody answers": (
        ["mitbih"],
        r"cannot download http://127.0.0.1:9/900.atr: .*refused.*give the files with --from",
    ),
    "no address": (["mitbih", "--from", "http://"], "cannot download http:"),
    "out is a file": (["mitbih", "--from", "raw", "--out", "sums"], "--out '.*sums' cannot be written"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line(get: Any, case: str) -> None:
    args, message = MISTAKES[case]
    status, said, complaints = get(*args)
    assert (status, said, len(complaints)) == (2, "", 1), complaints
    assert re.match(f"splitleak: .*{message}", complaints[0])
