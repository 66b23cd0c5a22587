"""Raw files of a public database, each checked against its published sha256: from a folder, an archive or the web."""

from __future__ import annotations

import hashlib
import http.client
import lzma
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from splitleak import __version__
from splitleak.contract.errors import BadInput
from splitleak.store import Store, write

Sums = dict[str, str]  # name of a file: its sha256
Say = Callable[[str], None]
LIMIT = 2**24  # bytes; no raw file is near it, and nothing longer is read into memory
TRIES, PAUSE, PATIENCE = 3, 1.0, 60.0  # downloads of a file; seconds before the next; seconds without a byte
BROKEN = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, RuntimeError)


def read_sums(file: Path) -> Sums:
    """A list as sha256sum writes and reads it."""
    lines = (line.split() for line in file.read_text().splitlines() if not line.startswith("#"))
    return {name: digest for digest, name in lines}


def gather(wanted: Sums, source: str, keep: Path, say: Say, progress: bool = False) -> Path:
    """The folder that holds every wanted file, checked: `source` itself, or `keep` with what came out of it.

    What an earlier call has put into `keep` stays there; what is damaged there is fetched again.
    """
    if source.startswith(("http://", "https://")):
        _fill(keep, wanted, (lambda todo: _downloaded(source.rstrip("/"), todo)), say, progress)
        return keep
    path = Path(source).expanduser()
    if path.is_dir():
        _check(path, wanted)
        return path
    if not path.is_file():
        raise BadInput(f"--from '{source}': no such folder or archive, and no http(s) address")
    _fill(keep, wanted, (lambda todo: _unpacked(path, todo)), say, progress)
    return keep


def _fill(keep: Path, wanted: Sums, bring: Callable[[Sums], Iterator[tuple[str, bytes]]], say: Say, bar: bool) -> None:
    """Put what is not there yet into a folder, each file whole or not at all."""
    Store(keep).sweep()
    todo = {name: digest for name, digest in wanted.items() if not _kept(keep / name, digest, say)}
    with tqdm(
        total=len(wanted), initial=len(wanted) - len(todo), disable=not bar, unit="file", desc="records"
    ) as files:
        for name, content in bring(todo) if todo else ():
            write(keep / name, content)
            files.update()


def _kept(file: Path, digest: str, say: Say) -> bool:
    if not file.is_file():
        return False
    if told := wrong(file.name, _read(file), digest):
        say(f"'{file}' is damaged ({told}): fetched again")
        file.unlink(missing_ok=True)
    return not told


def _check(folder: Path, wanted: Sums) -> None:
    """A folder of the user's own: what is missing or damaged there is named, and left as it is."""
    _all_there(f"--from '{folder}'", {name for name in wanted if (folder / name).is_file()}, wanted)
    for name, digest in wanted.items():
        if told := wrong(name, _read(folder / name), digest):
            raise BadInput(f"'{folder / name}' is damaged: {told}")


def _all_there(who: str, there: set[str], wanted: Sums) -> None:
    """Or one line that names what is missing, `101.*` where nothing of a record is there."""
    stems = {name.partition(".")[0] for name in there}
    gone = [name if (stem := name.partition(".")[0]) in stems else f"{stem}.*" for name in wanted if name not in there]
    if gone:
        raise BadInput(f"{who}: missing {', '.join(dict.fromkeys(gone))} (wanted are {len(wanted)} files)")


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(LIMIT + 1)
    except OSError as error:
        raise BadInput(f"cannot read '{file}': {error.strerror or error}") from error


def wrong(name: str, content: bytes, digest: str) -> str:
    """What is wrong with a file, nothing if it is the published one; headers are text, with either line end."""
    if name.endswith(".hea"):
        content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    had = hashlib.sha256(content).hexdigest()
    size = f"{len(content)} bytes" if len(content) <= LIMIT else f"more than {LIMIT} bytes"
    return "" if had == digest else f"sha256 {had[:12]}... of {size}, published is {digest[:12]}..."


def _unpacked(archive: Path, todo: Sums) -> Iterator[tuple[str, bytes]]:
    """The wanted files of an archive, in whatever folder of it they lie."""
    found: set[str] = set()
    try:
        for name, opened in _zip(archive, todo) if zipfile.is_zipfile(archive) else _tar(archive, todo):
            content = opened.read(LIMIT + 1)
            if told := wrong(name, content, todo[name]):
                raise BadInput(f"'{name}' in '{archive}' is damaged: {told}")
            if name not in found:
                found.add(name)
                yield name, content
    except BROKEN as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"--from '{archive}': cannot be read as a tar or zip archive ({told})") from error
    _all_there(f"--from '{archive}'", found, todo)


# Nothing is ever extracted under a name of the archive's choosing: its bytes are read, and written under ours.
def _zip(archive: Path, wanted: Sums) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name = PurePosixPath(member.filename).name
            if name in wanted and not member.is_dir():
                with opened.open(member) as file:
                    yield name, file


def _tar(archive: Path, wanted: Sums) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive) as opened:
        for member in opened:
            name = PurePosixPath(member.name).name
            if name in wanted and member.isreg():  # no link, no device
                tarfile.data_filter(member, ".")  # and none that would leave the folder: FilterError
                if file := opened.extractfile(member):
                    yield name, file


def _downloaded(url: str, todo: Sums) -> Iterator[tuple[str, bytes]]:
    for name, digest in todo.items():
        yield name, _download(f"{url}/{name}", digest)


def _download(url: str, digest: str) -> bytes:
    told = ""
    for attempt in range(TRIES):
        time.sleep(PAUSE * attempt)
        try:
            request = urllib.request.Request(url, headers={"User-Agent": f"splitleak/{__version__}"})
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                content: bytes = reply.read(LIMIT + 1)
        except urllib.error.HTTPError as error:
            told = f"HTTP status {error.code}, {error.reason}"
            if error.code < 500:
                break
        except (OSError, http.client.HTTPException, ValueError) as error:
            told = str(getattr(error, "reason", "") or error) or type(error).__name__
        else:
            told = wrong(url, content, digest)
            if not told:
                return content
    raise BadInput(f"cannot download {url}: {told}; run again to go on, or give the files with --from")
