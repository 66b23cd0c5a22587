"""Raw files of a public database from a folder, an archive or the web, each checked against its published sha256."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.archives import files_in_archive
from splitleak.datasets.reading.checksums import MAX_BYTES, Checksums, mismatch
from splitleak.datasets.reading.download import download
from splitleak.store import Store, write

Say = Callable[[str], None]  # prints one line for the user


def gather(wanted: Checksums, source: str, keep: Path, say: Say, progress: bool = False) -> Path:
    """The folder that holds every wanted file, checked: `source` if it is a folder, else `keep`, filled from it.

    Files that an earlier call put into `keep` stay there; a damaged one is fetched again.
    """
    if source.startswith(("http://", "https://")):
        _fill(keep, wanted, (lambda missing: _from_url(source.rstrip("/"), missing)), say, progress)
        return keep
    path = Path(source).expanduser()
    if path.is_dir():
        _check_folder(path, wanted)
        return path
    if not path.is_file():
        raise BadInput(f"--from '{source}': no such folder or archive, and no http(s) address")
    _fill(keep, wanted, (lambda missing: _from_archive(path, missing)), say, progress)
    return keep


Fetch = Callable[[Checksums], Iterator[tuple[str, bytes]]]


def _fill(folder: Path, wanted: Checksums, fetch: Fetch, say: Say, progress: bool) -> None:
    """Fetch what the folder lacks; each file is written whole or not at all."""
    Store(folder).sweep()
    missing = {name: digest for name, digest in wanted.items() if not _is_intact(folder / name, digest, say)}
    start = len(wanted) - len(missing)
    with tqdm(total=len(wanted), initial=start, disable=not progress, unit="file", desc="records") as bar:
        for name, content in fetch(missing) if missing else ():
            write(folder / name, content)
            bar.update()


def _is_intact(file: Path, digest: str, say: Say) -> bool:
    """Whether the file is the published one; a damaged one is removed."""
    if not file.is_file():
        return False
    if reason := mismatch(file.name, _read(file), digest):
        say(f"'{file}' is damaged ({reason}): fetched again")
        file.unlink(missing_ok=True)
    return not reason


def _check_folder(folder: Path, wanted: Checksums) -> None:
    """BadInput if a file of the user's folder is missing or damaged; nothing in it is changed."""
    _check_complete(f"--from '{folder}'", {name for name in wanted if (folder / name).is_file()}, wanted)
    for name, digest in wanted.items():
        if reason := mismatch(name, _read(folder / name), digest):
            raise BadInput(f"'{folder / name}' is damaged: {reason}")


def _check_complete(who: str, present: set[str], wanted: Checksums) -> None:
    """BadInput names the missing files, as `101.*` where no file of a record is present."""
    stems = {name.partition(".")[0] for name in present}
    missing = [
        name if (stem := name.partition(".")[0]) in stems else f"{stem}.*" for name in wanted if name not in present
    ]
    if missing:
        raise BadInput(f"{who}: missing {', '.join(dict.fromkeys(missing))} ({len(wanted)} files are needed)")


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"cannot read '{file}': {error.strerror or error}") from error


def _from_archive(archive: Path, missing: Checksums) -> Iterator[tuple[str, bytes]]:
    present: set[str] = set()
    for name, content in files_in_archive(archive, missing, MAX_BYTES):
        if reason := mismatch(name, content, missing[name]):
            raise BadInput(f"'{name}' in '{archive}' is damaged: {reason}")
        if name not in present:
            present.add(name)
            yield name, content
    _check_complete(f"--from '{archive}'", present, missing)


def _from_url(url: str, missing: Checksums) -> Iterator[tuple[str, bytes]]:
    for name, digest in missing.items():
        yield name, download(f"{url}/{name}", digest)
