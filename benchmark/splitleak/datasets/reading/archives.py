"""Files read from a zip or tar archive by name; the archive never decides where anything is written."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from splitleak.contract.errors import BadInput

BROKEN = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, RuntimeError)


def files_in_archive(archive: Path, names: Collection[str], limit: int) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each file with one of these names, in whatever folder; at most `limit` + 1 bytes of each."""
    try:
        for name, opened in _in_zip(archive, names) if zipfile.is_zipfile(archive) else _in_tar(archive, names):
            yield name, opened.read(limit + 1)
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"--from '{archive}': cannot be read as a tar or zip archive ({reason})") from error


def _in_zip(archive: Path, names: Collection[str]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name = PurePosixPath(member.filename).name
            if name in names and not member.is_dir():
                with opened.open(member) as file:
                    yield name, file


def _in_tar(archive: Path, names: Collection[str]) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive) as opened:
        for member in opened:
            name = PurePosixPath(member.name).name
            if name in names and member.isreg():  # no links, no devices
                tarfile.data_filter(member, ".")  # raises FilterError for a path that leaves the folder
                if file := opened.extractfile(member):
                    yield name, file
