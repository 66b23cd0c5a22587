"""Files built from raw records: which beats are kept, what is drawn, and that only whole, checked files count."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import wfdb

from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets.ecg import SYMBOLS
from splitleak.datasets.reading import download, fetch, mitbih_beats, raw_files
from splitleak.datasets.reading.checksums import read_checksums
from splitleak.datasets.reading.locate import find_file

BUILT = ("train_ecg.hdf5", "test_ecg.hdf5")
# (sample, symbol, kept): what is beside a record's beats, and why a beat is not kept
MARKS = [
    (30, "+", False),
    (150, "N", False),  # its neighbour is the first annotation, which counts for nothing
    (400, "N", True), (500, "L", True),  # exactly 100 apart
    (700, "R", True), (900, "A", True), (1100, "V", True),
    (1300, "N", False), (1399, "V", False),  # 99 apart
    (1600, "/", False),  # a paced beat is none of the five
    (1800, "L", True),
    (2000, "A", False), (2060, "~", False),  # any annotation is a neighbour, noise too
    (2300, "V", True), (2500, "R", True), (2700, "A", True),
    (2900, "N", False), (3200, "N", False),  # beside the last, and the last
]  # fmt: skip


def write_record(folder: Path, record: int) -> np.ndarray:
    """A noisy WFDB record with MARKS; its channel 0 in the recorder's units."""
    rng = np.random.default_rng(record)
    wave = rng.integers(600, 1400, (3600, 2))
    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        str(record), fs=360, units=["mV"] * 2, sig_name=["MLII", "V1"], d_signal=wave, fmt=["212"] * 2,
        adc_gain=[200, 200], baseline=[1024, 1024], write_dir=str(folder),
    )  # fmt: skip
    at, symbols, _ = zip(*MARKS, strict=True)
    wfdb.wrann(str(record), "atr", np.array(at), list(symbols), write_dir=str(folder))
    return wave[:, 0]


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


def published(file: Path) -> bytes:
    content = file.read_bytes()
    return content.replace(b"\n", b"\r\n") if file.suffix == ".hea" else content


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


def content(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for name in BUILT:
        with h5py.File(folder / name) as file:
            found |= {key: file[key][()] for key in file}
    return found


def same(one: Path, other: Path) -> bool:
    a, b = content(one), content(other)
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def nothing_built(folder: Path) -> bool:
    return not any((folder / name).exists() for name in BUILT)


# Beats --------------------------------------------------------------------------------------------


def test_a_beat_is_kept_when_no_annotation_is_nearer_than_100_samples(tmp_path: Path) -> None:
    write_record(tmp_path, 900)
    beats = mitbih_beats.cut_beats(tmp_path, 900)
    kept = [(at, symbol) for at, symbol, keep in MARKS if keep]
    assert [(r, SYMBOLS[k]) for r, k in zip(beats.rpeak, beats.kind, strict=True)] == kept
    assert set(beats.record) == {900}


def test_a_window_is_100_samples_to_both_sides_of_a_record_scaled_as_a_whole(tmp_path: Path) -> None:
    wave = write_record(tmp_path, 900)
    beats = mitbih_beats.cut_beats(tmp_path, 900)
    scaled = (wave - wave.min()) / (wave.max() - wave.min())
    for x, at in zip(beats.x, beats.rpeak, strict=True):
        np.testing.assert_allclose(x, scaled[at - 100 : at + 101], atol=1e-12)


def test_other_kinds_and_windows_are_to_be_had(tmp_path: Path) -> None:
    write_record(tmp_path, 900)
    beats = mitbih_beats.cut_beats(tmp_path, 900, symbols="V/", margin=60)
    assert beats.x.shape == (len(beats.rpeak), 121)
    assert [("V/"[k], int(r)) for k, r in zip(beats.kind, beats.rpeak, strict=True)] == [
        ("V", 1100), ("V", 1399), ("/", 1600), ("V", 2300)
    ]  # fmt: skip


def test_smoothing_takes_the_threshold_off_every_band() -> None:
    least = 0.005 * np.sqrt(2 * np.log2(128))
    flat = mitbih_beats.resample_and_denoise(np.full((3, 201), 0.5))
    assert flat.shape == (3, 128)
    np.testing.assert_allclose(flat, 0.5 - least / 2**1.5, atol=1e-6)  # the coarsest band is 2^(3/2) times the mean
    faint = 0.5 + 1e-3 * np.random.default_rng(0).standard_normal((3, 201))
    assert mitbih_beats.resample_and_denoise(faint).std(axis=1).max() < 0.7e-3 * 128 / 201


def test_smoothing_leaves_the_r_peak_in_the_middle() -> None:
    peak = np.exp(-(((np.arange(201) - 100) / 8) ** 2))[None]
    assert abs(int(mitbih_beats.resample_and_denoise(peak).argmax()) - 100 * 128 / 201) < 1


def test_the_draw_is_with_replacement_and_its_halves_overlap_as_published() -> None:
    kind = np.repeat(np.arange(5), fetch.COUNTS)
    train, test = fetch.draw_published(kind)
    assert sum(fetch.COUNTS) == 96_049
    for rows in (train, test):
        assert np.bincount(kind[rows]).tolist() == [3000, 3000, 3000, 1245, 3000]
        assert len(np.unique(rows)) < len(rows)
        assert (np.diff(kind[rows]) < 0).any()  # shuffled
    assert np.isin(test, train).mean() == pytest.approx(0.278, abs=5e-4)
    assert all(np.array_equal(a, b) for a, b in zip((train, test), fetch.draw_published(kind), strict=True))


def test_43_of_the_48_records_are_used_and_every_file_has_its_checksum() -> None:
    assert len(mitbih_beats.ALL_RECORDS) == 48
    assert len(fetch.RECORDS) == 43
    sums = read_checksums(mitbih_beats.CHECKSUMS)
    assert set(sums) == {
        f"{record}.{ending}" for record in mitbih_beats.ALL_RECORDS for ending in ("hea", "dat", "atr")
    }
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in sums.values())


# Where from ---------------------------------------------------------------------------------------


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


def pack(raw: Path, kind: str, **more: bytes) -> Path:
    """An archive of the records, in a folder of it, with other things beside them."""
    files = {f"mitdb-1.0.0/{f.name}": f.read_bytes() for f in sorted(raw.iterdir())}
    files |= {"mitdb-1.0.0/notes.txt": b"read me"} | {f"mitdb-1.0.0/{k.replace('_', '.')}": v for k, v in more.items()}
    archive = raw.parent / f"records.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as opened:
            for name, data in files.items():
                opened.writestr(name, data)
    else:
        with tarfile.open(archive, "w:xz" if kind == "txz" else "w") as opened:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                opened.addfile(member, io.BytesIO(data))
    return archive


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


# What is wrong with it ----------------------------------------------------------------------------


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


# Downloads ----------------------------------------------------------------------------------------


class Site(ThreadingHTTPServer):
    """Serves the files of a folder, records the requests and misbehaves on demand."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.folder = folder
        self.asked: list[str] = []
        self.good_for = 1000  # replies, before each is `bad`
        self.bad = "503"
        self.hung = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files/mitdb"


class Page(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        name = Path(self.path).name
        self.server.asked.append(name)
        data, file = b"", self.server.folder / name
        bad = self.server.bad if len(self.server.asked) > self.server.good_for else ""
        if bad == "hang":
            self.server.hung.set()
            threading.Event().wait(30)
        if bad == "503" or not file.is_file() or not self.path.startswith("/files/mitdb/"):
            self.send_error(503 if bad else 404)
            return
        data = published(file)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if bad == "short" else data[::-1] if bad == "garbled" else data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def site(raw: Path) -> Iterator[Site]:
    with Site(raw) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


NAMES = [f"{record}.{ending}" for record in (900, 901) for ending in ("atr", "dat", "hea")]


@pytest.mark.parametrize("bad", ["503", "short", "garbled"])
def test_a_download_that_broke_off_goes_on_where_it_stopped(get: Any, site: Site, raw: Path, bad: str) -> None:
    site.good_for, site.bad = 3, bad
    status, _, complaints = get("mitbih", "--from", site.url, "--out", "o")
    assert (status, len(complaints)) == (2, 1)
    message = "HTTP status 503" if bad == "503" else r"sha256 \w{12}"
    assert re.search(f"cannot download {site.url}/901.atr: {message}.*run again to go on", complaints[0])
    assert site.asked == [*NAMES[:3], *["901.atr"] * download.TRIES]
    assert sorted(f.name for f in Path("o/mitdb").iterdir()) == NAMES[:3]
    assert nothing_built(Path("o"))

    site.asked, site.good_for = [], 1000
    assert get("mitbih", "--from", site.url + "/", "--out", "o")[::2] == (0, [])
    assert site.asked == NAMES[3:]
    assert get("mitbih", "--from", str(raw), "--out", "whole")[0] == 0
    assert same(Path("o"), Path("whole"))


def test_without_from_the_database_s_own_address_is_asked(
    get: Any, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fetch, "URL", site.url)
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("SPLITLEAK_DATA", str(tmp_path / "mine"))
    status, said, _ = get("mitbih")
    assert status == 0
    assert site.asked == NAMES
    assert find_file("ecg", BUILT[0]) == tmp_path / "mine" / "ecg" / BUILT[0]
    assert "'ecg' finds them" in said
    site.asked = []
    assert get("mitbih")[0] == 0
    assert site.asked == []


def test_a_damaged_kept_file_is_named_and_downloaded_again(get: Any, site: Site) -> None:
    assert get("mitbih", "--from", site.url, "--out", "o")[0] == 0
    Path("o/mitdb/900.dat").write_bytes(b"cut off")
    site.asked = []
    status, _, complaints = get("mitbih", "--from", site.url, "--out", "o")
    assert (status, site.asked) == (0, ["900.dat"])
    assert len(complaints) == 1
    assert re.search(r"900.dat' is damaged \(sha256 .* of 7 bytes.*\): fetched again", complaints[0])


def test_a_record_that_the_address_lacks_is_named_at_once(get: Any, site: Site, raw: Path) -> None:
    (raw / "901.dat").unlink()
    status, _, complaints = get("mitbih", "--from", site.url, "--out", "o")
    assert (status, len(complaints)) == (2, 1)
    assert f"cannot download {site.url}/901.dat: HTTP status 404" in complaints[0]
    assert site.asked.count("901.dat") == 1


KILLED = """
import sys
from pathlib import Path
from splitleak.cli import main
from splitleak.datasets.reading import fetch, mitbih_beats
mitbih_beats.CHECKSUMS, fetch.RECORDS, fetch.COUNTS = Path("sums"), (900, 901), (2, 4, 4, 4, 4)
main()
"""


@pytest.mark.slow
def test_killed_in_a_download_only_whole_files_are_left(get: Any, site: Site, tmp_path: Path) -> None:
    site.good_for, site.bad = 4, "hang"
    command = [sys.executable, "-P", "-c", KILLED, "fetch", "mitbih", "--from", site.url, "--out", "o"]
    started = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        assert site.hung.wait(120)
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()
    assert sorted(f.name for f in Path("o/mitdb").iterdir()) == NAMES[:4]
    Path("o/mitdb/.901.dat.1.tmp").write_bytes(b"half")  # as a kill in the middle of a write leaves it
    site.asked, site.good_for = [], 1000
    assert get("mitbih", "--from", site.url, "--out", "o")[0] == 0
    assert site.asked == NAMES[4:]
    assert sorted(f.name for f in Path("o/mitdb").iterdir()) == NAMES
    assert {f.name for f in Path("o").iterdir()} == {*BUILT, ".lock", "mitdb"}


def test_a_kill_between_the_two_files_leaves_whole_ones(raw: Path, get: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def once(path: Path, data: bytes) -> None:
        raw_files.write(path, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "write", once)
        assert get("mitbih", "--from", "raw", "--out", "o")[0] == 130
    assert sorted(f.name for f in Path("o").iterdir()) == [".lock", "train_ecg.hdf5"]
    assert get("mitbih", "--from", "raw", "--out", "o")[0] == 0
    assert get("mitbih", "--from", "raw", "--out", "p")[0] == 0
    assert all((Path("o") / name).read_bytes() == (Path("p") / name).read_bytes() for name in BUILT)


# Where to -----------------------------------------------------------------------------------------


def test_files_go_where_the_dataset_looks_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPLITLEAK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert fetch.writable_folder("ecg") == tmp_path / "cache" / "splitleak" / "ecg"
    (tmp_path / "data").mkdir()
    assert fetch.writable_folder("ecg") == tmp_path / "data" / "ecg"
    monkeypatch.setenv("SPLITLEAK_DATA", str(tmp_path / "mine"))
    assert fetch.writable_folder("ecg") == tmp_path / "mine" / "ecg"
    monkeypatch.setattr(os, "access", lambda path, mode: "mine" not in str(path))
    (tmp_path / "mine").mkdir()
    assert fetch.writable_folder("ecg") == tmp_path / "data" / "ecg"


# The real records ---------------------------------------------------------------------------------


def real(name: str) -> Path | None:
    try:
        return find_file("ecg", name)
    except FilesMissing:
        return None


ARCHIVE, HEADER, GIVEN = real("mitdb48.txz"), real("mitdb/100.hea"), real(BUILT[0])


@pytest.mark.skipif(HEADER is None, reason="no raw records of MIT-BIH: set SPLITLEAK_DATA to their folder")
def test_real_records_have_their_published_checksums_and_the_missing_are_named() -> None:
    assert HEADER is not None
    there = {f.name for f in HEADER.parent.iterdir()}
    sums = {name: digest for name, digest in read_checksums(mitbih_beats.CHECKSUMS).items() if name in there}
    assert "100.dat" in sums
    assert raw_files.gather(sums, str(HEADER.parent), Path("unused"), print) == HEADER.parent
    with pytest.raises(BadInput, match=r"missing 101\.\*, 102\.\*"):
        raw_files.gather(read_checksums(mitbih_beats.CHECKSUMS), str(HEADER.parent), Path("unused"), print)


@pytest.mark.slow
@pytest.mark.skipif(not (ARCHIVE and GIVEN), reason="no MIT-BIH: set SPLITLEAK_DATA to its folder")
def test_real_records_give_the_published_set_row_by_row(main: Callable[..., Any], tmp_path: Path) -> None:
    assert ARCHIVE is not None
    assert GIVEN is not None
    ran = main("fetch", "mitbih", "--from", str(ARCHIVE), "--out", str(tmp_path))
    assert ran.status == 0
    assert "96049 beats of 43 records" in ran.out
    given, built = content(GIVEN.parent), content(tmp_path)
    for part in ("train", "test"):
        np.testing.assert_allclose(built[f"x_{part}"], given[f"x_{part}"], rtol=0, atol=1e-5)
        for key in ("y", "record", "rpeak"):
            assert np.array_equal(built[f"{key}_{part}"], given[f"{key}_{part}"])
