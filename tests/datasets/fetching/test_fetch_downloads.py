"""Downloads: retries, damage, and a process that is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from splitleak.datasets.reading import download, fetch, raw_files
from splitleak.datasets.reading.locate import find_file

from .raw_records import BUILT, nothing_built, published, same


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
