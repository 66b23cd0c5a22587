"""Records of your own (one npz or HDF5 file): signals, images or rows with classes, masks or values.

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
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.division_by_share import SHARES, Shares, divide_by_person, divide_by_record
from splitleak.datasets.reading.linked_records import linked_records
from splitleak.datasets.reading.own_arrays import labels_of, numbers, range_of, read_own, records_of
from splitleak.datasets.reading.validation import validate, validate_records

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
        shares = self._shares(who)
        raw = read_own(file, who)
        y, task = labels_of(raw["y"], raw["x"], self.task, who)
        records = validate_records(records_of(raw, y), task, who)
        in_range = range_of(records.x, self.low, self.high, who)
        link = numbers(raw["id"]) if "id" in raw else records.id
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
