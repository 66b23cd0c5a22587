"""Arrays that a user brings (npz or HDF5) as records: columns checked, labels as their task needs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from splitleak.contract import Records, Task
from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets.reading.array_files import Array, read_hdf5, read_npz
from splitleak.datasets.reading.identity import record_hashes

NDIMS = {"x": None, "y": None, "group": 1, "id": 1, "property": 1}
OPTIONAL = ("group", "id", "property")
FORMS = "(n,) whole numbers for classes, (n, D) floats for values, (n, 1, H, W) numbers for masks"


def read_own(file: Path, who: str, optional: tuple[str, ...] = OPTIONAL) -> dict[str, Array]:
    """The arrays x, y, group, id and property of a file; those in `optional` may be missing."""
    if not file.is_file():
        raise FilesMissing(f"{who}: no such file; a path in a matrix starts at the matrix's folder")
    if file.suffix in (".h5", ".hdf5"):
        raw = read_hdf5(file, "", tuple(name for name in NDIMS if name not in optional), optional)
    else:
        raw = read_npz(file, NDIMS, optional)
    check_columns(raw, who)
    return raw


def check_columns(raw: dict[str, Array], who: str) -> None:
    if len({len(a) for a in raw.values()}) > 1:
        lengths = ", ".join(f"{name} {len(a)}" for name, a in raw.items())
        raise BadInput(f"{who}: the arrays have different lengths ({lengths}); each record needs one entry in each")
    kinds = {"x": "fiub", "y": "fiub", "group": "iuUS", "id": "iuUS", "property": "fiub"}
    for name, a in raw.items():
        if a.dtype.kind not in kinds[name]:
            legal = "numbers" if "f" in kinds[name] else "whole numbers or text"
            raise BadInput(f"{who}: {name} has the type {a.dtype}; legal: {legal}")
    if "property" in raw and not np.isin(raw["property"], (0, 1)).all():
        raise BadInput(f"{who}: property has values other than 0 and 1")


def labels_of(y: Array, x: Array, wanted: str, who: str) -> tuple[Tensor, Task]:
    """y as the task needs it, and the task: as wanted or, for `auto`, the one that y fits."""
    whole = y.dtype.kind in "iub"
    fits = {
        "classes": y.ndim == 1 and whole,
        "value": y.ndim == 2 and (not whole or wanted == "value"),
        "mask": y.ndim == 4 and y.shape[1] == 1,
    }
    kind = next((kind for kind, fit in fits.items() if fit and wanted in ("auto", kind)), None)
    if kind is None:
        raise BadInput(f"{who}: y has shape {y.shape} of {y.dtype}, task is '{wanted}'; legal: {FORMS}")
    if kind == "classes":
        return _classes(y, who)
    if kind == "mask" and y.shape[2:] != x.shape[2:]:
        raise BadInput(f"{who}: masks have shape {y.shape[1:]}, records {x.shape[1:]}; height and width must be equal")
    return float32(y), Task("mask", 1) if kind == "mask" else Task("value", y.shape[1])


def _classes(y: Array, who: str) -> tuple[Tensor, Task]:
    found = np.unique(y).astype(np.int64)
    if len(found) < 2 or (found != np.arange(len(found))).any():
        have = f"y has {len(found)} different class numbers, from {found[0]} to {found[-1]}"
        raise BadInput(f"{who}: {have}; legal: at least two classes, numbered 0, 1, 2, ... without a gap")
    return torch.from_numpy(y.astype(np.int64)), Task("classes", len(found))


def records_of(raw: dict[str, Array], y: Tensor) -> Records:
    x = float32(raw["x"])
    group = numbers(raw["group"]) if "group" in raw else None
    return Records(x, y, record_hashes(x), group, numbers(raw["property"]) if "property" in raw else None)


def range_of(x: Tensor, low: float | None, high: float | None, who: str) -> tuple[float, float]:
    """From `low` to `high`; where one is None, the least or the greatest value of x."""
    low = float(x.min()) if low is None else low
    high = float(x.max()) if high is None else high
    if low >= high:
        raise BadInput(f"{who}: the values of x would run from {low:g} to {high:g}; low must be below high")
    return low, high


def float32(a: Array) -> Tensor:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        a = a.astype(np.float32) + np.float32(0)  # the sum turns -0 into 0, so that copies have equal bytes
    return torch.from_numpy(np.ascontiguousarray(a))


def numbers(a: Array) -> Tensor:
    """Whole numbers as they are; text, and numbers too large for int64, by their place in sorted order."""
    if a.dtype.kind in "US" or a.dtype == np.uint64:
        a = np.unique(a, return_inverse=True)[1]
    return torch.from_numpy(a.astype(np.int64))
