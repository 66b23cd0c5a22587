"""Readers of CSV, npz, idx and HDF5 files; a file that is damaged or lacks something is one line that names it."""

from __future__ import annotations

import csv
import gzip
import math
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.regular_file import require_regular

Array = NDArray[Any]
UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


def read_csv(file: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header; names and values are stripped of blanks at both ends."""
    try:
        require_regular(file)
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = [{(k or "").strip(): (v or "").strip() for k, v in row.items() if isinstance(v, str | None)}
                    for row in csv.DictReader(opened)]  # fmt: skip
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{file}: not a readable CSV ({error})") from error
    if not rows:
        raise BadInput(f"{file}: no rows in it")
    if missing := [column for column in columns if column not in rows[0]]:
        raise BadInput(f"{file}: no column {' and no '.join(missing)}; it has: {', '.join(filter(None, rows[0]))}")
    return rows


def read_npz(file: Path, ndims: Mapping[str, int | None], optional: Collection[str] = ()) -> dict[str, Array]:
    """The arrays of an npz file by name; pickled objects are refused.

    `ndims` gives each array's number of dimensions, None for any. Those in `optional` may be missing.
    """
    if not file.is_file():
        raise FilesMissing(f"{file}: no such file")
    try:
        with zipfile.ZipFile(file) as opened:
            present = [name.removesuffix(".npy") for name in opened.namelist()]
            if missing := [name for name in ndims if name not in present and name not in optional]:
                listed = ", ".join(present) or "nothing"
                raise BadInput(f"{file}: no array {' and no '.join(missing)} in it; it has: {listed}")
            arrays = {name: _read_array(opened, name) for name in ndims if name in present}
    except UNREADABLE as error:
        raise BadInput(f"{file}: not a readable npz file ({' '.join(str(error).split())})") from error
    for name, a in arrays.items():
        if ndims[name] not in (None, a.ndim) or a.ndim == 0 or not len(a):
            wanted = "at least 1" if ndims[name] is None else ndims[name]
            raise BadInput(f"{file}: {name} has shape {a.shape}; it must have {wanted} dimensions and not be empty")
    return arrays


def _read_array(opened: zipfile.ZipFile, name: str) -> Array:
    with opened.open(f"{name}.npy") as member:
        return np.asarray(np.lib.format.read_array(member, allow_pickle=False))


def read_idx(file: Path, ndim: int) -> Array:
    """The bytes of an idx file, plain or .gz, as (n, ...) of `ndim` dimensions (LeCun: magic, sizes, bytes)."""
    if not file.is_file():
        raise FilesMissing(f"{file}: no such file")
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except UNREADABLE as error:
        raise BadInput(f"{file}: not a readable gzip file ({error})") from error
    if raw[:4] != bytes((0, 0, 8, ndim)):
        magic = f"000008{ndim:02x} (idx, bytes, {ndim} dimensions)"
        raise BadInput(f"{file}: begins with {raw[:4].hex()}; it must begin with {magic}")
    shape = tuple(np.frombuffer(raw, ">u4", ndim, 4).tolist()) if len(raw) >= 4 + 4 * ndim else ()
    rest = len(raw) - 4 - 4 * ndim
    if not shape or rest != math.prod(shape):
        sizes = " x ".join(map(str, shape))
        raise BadInput(f"{file}: {max(rest, 0)} bytes follow the header; its sizes are {sizes or 'missing'}")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * ndim).reshape(shape)


def read_hdf5(file: Path, suffix: str, keys: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, Array]:
    """The arrays `<key><suffix>` of an HDF5 file by their key; arrays of numbers only."""
    if not file.is_file():
        raise FilesMissing(f"{file}: no such file")
    try:
        with h5py.File(file, "r") as opened:
            numeric = {k: v for k, v in opened.items() if isinstance(v, h5py.Dataset) and v.dtype.kind in "fiu"}
            if missing := [key + suffix for key in keys if key + suffix not in numeric]:
                listed = ", ".join(opened) or "nothing"
                raise BadInput(f"{file}: no array of numbers {' and no '.join(missing)} in it; it has: {listed}")
            return {k: np.asarray(numeric[k + suffix][()]) for k in (*keys, *optional) if k + suffix in numeric}
    except (OSError, RuntimeError, KeyError) as error:
        raise BadInput(f"{file}: not a readable HDF5 file ({' '.join(str(error).split())})") from error
