"""Data is looked for in SPLITLEAK_DATA, then ./data, then the user's cache folder: the first that has the file."""

from __future__ import annotations

import csv
import gzip
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from splitleak.contract.errors import BadInput, NotAtHand

Array = NDArray[Any]
Layouts = dict[str, tuple[str, ...]]  # layout: its marks
BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
FETCHED = {"ecg": "mitbih", "ecg_pvc": "pvc"}  # datasets whose files `splitleak fetch` builds, and by which name


def find(dataset: str, file: str, beside: str | None = None) -> Path:
    """The first `<folder>/<dataset>/<file>` or `<folder>/<file>` that exists; NotAtHand lists where it looked.

    `beside`: the dataset in whose folder its files lie, where that is another one.
    """
    places = nearby(beside or dataset)
    for place in places:
        if (place / file).is_file():
            return place / file
    told = "point SPLITLEAK_DATA to the folder that holds it"
    told += f", or build it: splitleak fetch {FETCHED[dataset]}" if dataset in FETCHED else ""
    raise NotAtHand(f"dataset '{dataset}': no file {file} in {', '.join(map(str, places))}; {told}")


def find_layout(
    dataset: str, layouts: Layouts, only: str | None = None, places: tuple[Path, ...] = ()
) -> tuple[str, Path]:
    """The first layout (or the one asked for) whose mark lies in `<folder>/<dataset>/` or `<folder>/`, and its mark.

    A mark is a path, `*` allowed, that only a folder of this layout has; NotAtHand lists the marks and the places.
    """
    looked_into = [*nearby(dataset), *places]
    wanted = {name: marks for name, marks in layouts.items() if only in (None, name)}
    for place in looked_into:
        for name, marks in wanted.items():
            for mark in marks:
                if found := sorted(place.glob(mark)):
                    return name, found[0]
    told = " or ".join(mark for marks in wanted.values() for mark in marks)
    looked = ", ".join(map(str, looked_into))
    raise NotAtHand(f"dataset '{dataset}': no {told} in {looked}; point SPLITLEAK_DATA to the folder that holds it")


def nearby(dataset: str) -> list[Path]:
    """`<folder>/<dataset>` and `<folder>` for each folder, in order of precedence."""
    return [place for folder in folders() for place in (folder / dataset, folder)]


def folders() -> list[Path]:
    """Where data may lie, in order of precedence."""
    chosen = os.environ.get("SPLITLEAK_DATA")
    first = [Path(chosen).expanduser()] if chosen else []
    return [*first, Path("data").absolute(), cache_folder()]


def cache_folder() -> Path:
    """The user's own, for what can be made again."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "splitleak"


def table(file: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV with a header; names and values without the blanks around them."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = [{(k or "").strip(): (v or "").strip() for k, v in row.items() if isinstance(v, str | None)}
                    for row in csv.DictReader(opened)]  # fmt: skip
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{file}: not a readable CSV ({error})") from error
    if not rows:
        raise BadInput(f"{file}: no rows in it")
    if missing := [column for column in columns if column not in rows[0]]:
        raise BadInput(f"{file}: no column {' and no '.join(missing)}; there are: {', '.join(filter(None, rows[0]))}")
    return rows


def npz(file: Path, shapes: dict[str, int]) -> dict[str, Array]:
    """The arrays of an npz file by name, each of as many dimensions as asked for; no pickled objects."""
    if not file.is_file():
        raise NotAtHand(f"{file}: no such file")
    try:
        with zipfile.ZipFile(file) as opened:
            there = [name.removesuffix(".npy") for name in opened.namelist()]
            if missing := [name for name in shapes if name not in there]:
                raise BadInput(
                    f"{file}: no array {' and no '.join(missing)} in it; there is: {', '.join(there) or 'nothing'}"
                )
            arrays = {name: _array(opened, name) for name in shapes}
    except BROKEN as error:
        raise BadInput(f"{file}: not a readable npz file ({' '.join(str(error).split())})") from error
    for name, a in arrays.items():
        if a.ndim != shapes[name] or not len(a):
            raise BadInput(f"{file}: {name} has shape {a.shape}, wanted {shapes[name]} dimensions and no empty one")
    return arrays


def _array(opened: zipfile.ZipFile, name: str) -> Array:
    with opened.open(f"{name}.npy") as member:
        return np.asarray(np.lib.format.read_array(member, allow_pickle=False))


def idx(file: Path, ndim: int) -> Array:
    """The bytes of an idx file, plain or .gz, as (n, ...) of `ndim` dimensions (LeCun: magic, sizes, bytes)."""
    if not file.is_file():
        raise NotAtHand(f"{file}: no such file")
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except BROKEN as error:
        raise BadInput(f"{file}: not a readable gzip file ({error})") from error
    if raw[:4] != bytes((0, 0, 8, ndim)):
        raise BadInput(f"{file}: begins with {raw[:4].hex()}, wanted 000008{ndim:02x} (idx, bytes, {ndim} dimensions)")
    shape = tuple(np.frombuffer(raw, ">u4", ndim, 4).tolist()) if len(raw) >= 4 + 4 * ndim else ()
    rest = len(raw) - 4 - 4 * ndim
    if not shape or rest != math.prod(shape):
        raise BadInput(f"{file}: {max(rest, 0)} bytes follow the header, wanted {' x '.join(map(str, shape))}")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * ndim).reshape(shape)


def hdf5(file: Path, ending: str, keys: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, Array]:
    """The arrays `<key><ending>` of an HDF5 file, numbers only, by their key."""
    if not file.is_file():
        raise NotAtHand(f"{file}: no such file")
    try:
        with h5py.File(file, "r") as opened:
            there = {k: v for k, v in opened.items() if isinstance(v, h5py.Dataset) and v.dtype.kind in "fiu"}
            if missing := [key + ending for key in keys if key + ending not in there]:
                listed = ", ".join(opened) or "nothing"
                raise BadInput(f"{file}: no array of numbers {' and no '.join(missing)} in it; there is: {listed}")
            return {k: np.asarray(there[k + ending][()]) for k in (*keys, *optional) if k + ending in there}
    except (OSError, RuntimeError, KeyError) as error:
        raise BadInput(f"{file}: not a readable HDF5 file ({' '.join(str(error).split())})") from error
