"""Records of a network that is already trained (npz or HDF5 files): those it was trained on, and strangers.

`members` are the records that the client was trained on, and become the private part. `strangers` trained nobody:
without `aux` one half of them is the attacker's and the other half is the test part; with a file `aux` that is the
attacker's, and all strangers are the test part. Arrays of each file: x (n, *in); optional, in all files or in none: y,
group, id and property, as in `npz`. With group, a person's records are in one half; exact copies always are.

Without y there is nothing to predict. A random number for each record stands in for it, which tells nothing about the
record, and no accuracy means anything.
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
from splitleak.datasets.reading.linked_records import linked_records
from splitleak.datasets.reading.own_arrays import OPTIONAL, labels_of, numbers, range_of, read_own, records_of
from splitleak.datasets.reading.validation import validate, validate_records

LEAST = 50  # members, and as many strangers: from fewer no share can be told from chance


@dataclass(frozen=True)
class OwnRecords(Dataset):
    """`auto` takes the task from the shape and type of y; in_range runs from `low` to `high`."""

    members: str  # files, relative to the matrix's folder
    strangers: str
    aux: str = ""  # "": half of the strangers
    task: Literal["auto", "classes", "mask", "value"] = "auto"
    low: float | None = None  # None: the least value of x
    high: float | None = None  # None: the greatest value of x
    seed: Annotated[int, Field(ge=0)] = 0  # another number divides the strangers anew

    def load(self) -> Data:
        who = f"dataset '{self}'"
        named = {"members": self.members, "strangers": self.strangers} | ({"aux": self.aux} if self.aux else {})
        raw = {
            name: read_own(self.path(file), f"{who}: {name} ({self.path(file)})", (*OPTIONAL, "y"))
            for name, file in named.items()
        }
        for name in ("members", "strangers"):
            if (n := len(raw[name]["x"])) < LEAST:
                raise BadInput(f"{who}: {n} {name}; legal: {LEAST} or more")
        whole, part = _joined(raw, who)
        y, task = labels_of(whole["y"], whole["x"], self.task, who) if "y" in whole else _random(len(whole["x"]))
        records = validate_records(records_of(whole, y), task, who)
        link = numbers(whole["id"]) if "id" in whole else records.id
        _check_apart(records, link, part, list(raw), who)
        if not self.aux:
            part = _halved(records, link, part, self.seed)
        private, test, aux = (records.take(torch.from_numpy(np.flatnonzero(part == p))) for p in range(3))
        return validate(Data(private, aux, test, task, range_of(records.x, self.low, self.high, who)), who)


def _joined(raw: dict[str, dict[str, Array]], who: str) -> tuple[dict[str, Array], Array]:
    """The arrays of all files in a row, so that a class or a person has one number in all; each record's file (n,)."""
    first, *others = raw
    for name in others:
        if raw[name].keys() != raw[first].keys():
            odd = ", ".join(sorted(raw[name].keys() ^ raw[first].keys()))
            raise BadInput(f"{who}: {odd} stands in one of {first} and {name} only; give it in all files or in none")
        for what, array in raw[name].items():
            if array.shape[1:] != raw[first][what].shape[1:]:
                shapes = f"{array.shape[1:]}; those of {first} {raw[first][what].shape[1:]}"
                raise BadInput(f"{who}: {what} of {name} has entries of shape {shapes}")
    whole = {what: np.concatenate([raw[name][what] for name in raw]) for what in raw[first]}
    return whole, np.repeat(np.arange(len(raw)), [len(one["x"]) for one in raw.values()])


def _random(n: int) -> tuple[Tensor, Task]:
    return torch.randn(n, 1, generator=torch.Generator().manual_seed(0)), Task("value", 1)


def _check_apart(records: Records, link: Tensor, part: Array, names: list[str], who: str) -> None:
    """No record, and nobody, is in two files."""
    keys = {"records": records.id, "ids": link} | ({"persons": records.group} if records.group is not None else {})
    for what, key in keys.items():
        for p, name in enumerate(names[1:], 1):
            earlier = key[torch.from_numpy(part < p)]
            if shared := int(torch.isin(key[torch.from_numpy(part == p)].unique(), earlier).sum()):
                both = f"{name} are also in {' or '.join(names[:p])}"
                raise BadInput(f"{who}: {shared} of the {what} of {both}; each may be in one file only")


def _halved(records: Records, link: Tensor, part: Array, seed: int) -> Array:
    """The same, with half of the strangers (1) as a third part (2); who is linked stays together."""
    rows = np.flatnonzero(part == 1)
    keys = [t.numpy()[rows] for t in (records.id, link, records.group) if t is not None]
    unit = linked_records(keys)
    order = np.random.default_rng(seed).permutation(unit.max() + 1)
    sizes = np.bincount(unit)[order]
    first = order[np.cumsum(sizes) - sizes / 2 <= len(rows) / 2]
    part = part.copy()
    part[rows[np.isin(unit, first)]] = 2
    return part
