"""Records of your own (an npz file): signals, images or rows with classes, masks or values.

Arrays of the file: x (n, *in); y (n,) whole numbers for classes, (n, D) floats for values, or (n, 1, H, W) for masks
of values in [0, 1]. Optional: group (n,), the person each record is from; id (n,), equal for records that must stay in
one part; property (n,) of 0 and 1, which a PROPERTY attack infers. Persons and ids are whole numbers or text.

With group, whole persons are divided among the parts, otherwise records. Exact copies always stay in one part and count
as one record. x becomes float32 and is not rescaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from splitleak.contract import Data, Dataset, Records, Task
from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets.reading.array_files import Array, read_npz
from splitleak.datasets.reading.division_by_share import SHARES, Shares, divide_by_person, divide_by_record
from splitleak.datasets.reading.identity import record_hashes
from splitleak.datasets.reading.linked_records import linked_records
from splitleak.datasets.reading.validation import validate, validate_records

NDIMS = {"x": None, "y": None, "group": 1, "id": 1, "property": 1}
OPTIONAL = ("group", "id", "property")
FORMS = "(n,) whole numbers for classes, (n, D) floats for values, (n, 1, H, W) numbers for masks"
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class NPZ(Dataset):
    """`auto` takes the task from the shape and type of y; in_range runs from `low` to `high`."""

    file: str  # relative to the matrix's folder
    task: Literal["auto", "classes", "mask", "value"] = "auto"
    private: Share = SHARES[0]  # share of the records that is private
    aux: Share = SHARES[1]  # share that is auxiliary; the rest is the test part
    low: float | None = None  # None: the least value of x
    high: float | None = None  # None: the greatest value of x
    seed: Annotated[int, Field(ge=0)] = 0  # another number divides the records anew

    def load(self) -> Data:
        file = self.path(self.file)
        who = f"dataset '{self}' ({file})"
        if not file.is_file():
            raise FilesMissing(f"{who}: no such file; a path in a matrix starts at the matrix's folder")
        shares = self._shares(who)
        raw = read_npz(file, NDIMS, OPTIONAL)
        _check_columns(raw, who)
        y, task = _labels(raw["y"], raw["x"], self.task, who)
        records = validate_records(_records(raw, y), task, who)
        in_range = self._range(records.x, who)
        link = _numbers(raw["id"]) if "id" in raw else records.id
        part = _divide(records, link, task, who, self.seed, shares)
        for p, name in enumerate(("private", "auxiliary", "test")):
            if not (part == p).any():
                raise BadInput(f"{who}: {len(part)} records are too few: none is left for the {name} part")
        private, aux, test = (records.take(torch.from_numpy(np.flatnonzero(part == p))) for p in range(3))
        return validate(Data(private, aux, test, task, in_range), who)

    def _shares(self, who: str) -> Shares:
        test = 1 - self.private - self.aux
        if test < 1e-6:
            given = f"private = {self.private:g} and aux = {self.aux:g}"
            raise BadInput(f"{who}: {given} leave nothing for the test part; their sum must be below 1")
        return self.private, self.aux, test

    def _range(self, x: Tensor, who: str) -> tuple[float, float]:
        low = float(x.min()) if self.low is None else self.low
        high = float(x.max()) if self.high is None else self.high
        if low >= high:
            raise BadInput(f"{who}: the values of x would run from {low:g} to {high:g}; low must be below high")
        return low, high


def _check_columns(raw: dict[str, Array], who: str) -> None:
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


def _labels(y: Array, x: Array, wanted: str, who: str) -> tuple[Tensor, Task]:
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
    return _float32(y), Task("mask", 1) if kind == "mask" else Task("value", y.shape[1])


def _classes(y: Array, who: str) -> tuple[Tensor, Task]:
    found = np.unique(y).astype(np.int64)
    if len(found) < 2 or (found != np.arange(len(found))).any():
        have = f"y has {len(found)} different class numbers, from {found[0]} to {found[-1]}"
        raise BadInput(f"{who}: {have}; legal: at least two classes, numbered 0, 1, 2, ... without a gap")
    return torch.from_numpy(y.astype(np.int64)), Task("classes", len(found))


def _records(raw: dict[str, Array], y: Tensor) -> Records:
    x = _float32(raw["x"])
    group = _numbers(raw["group"]) if "group" in raw else None
    return Records(x, y, record_hashes(x), group, _numbers(raw["property"]) if "property" in raw else None)


def _float32(a: Array) -> Tensor:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        a = a.astype(np.float32) + np.float32(0)  # the sum turns -0 into 0, so that copies have equal bytes
    return torch.from_numpy(np.ascontiguousarray(a))


def _numbers(a: Array) -> Tensor:
    """Whole numbers as they are; text, and numbers too large for int64, by their place in sorted order."""
    if a.dtype.kind in "US" or a.dtype == np.uint64:
        a = np.unique(a, return_inverse=True)[1]
    return torch.from_numpy(a.astype(np.int64))


def _divide(records: Records, link: Tensor, task: Task, who: str, seed: int, shares: Shares) -> Array:
    """Each record's part, (n,), with records of one person, of one link or of equal values in the same part."""
    classes = task.size if task.kind == "classes" else 1
    label = records.y.numpy() if task.kind == "classes" else np.zeros(len(records), np.int64)
    keys = [t.numpy() for t in (records.id, link, records.group) if t is not None]
    unit = linked_records(keys)
    if records.group is not None:
        return divide_by_person(unit, label, classes, who, seed, shares)
    first = np.unique(unit, return_index=True)[1]
    order = np.random.default_rng(seed).random(len(first))
    return divide_by_record(label[first], order, classes, shares)[unit]
