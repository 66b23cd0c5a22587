"""Checks of a loaded dataset: finite values, shapes, range, every class in every part, no record in two parts."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from splitleak.contract import Data, Records, Task
from splitleak.contract.errors import BadInput


def validate(data: Data, who: str) -> Data:
    """Return the same data, or raise BadInput; `who` names the dataset and its files at the start of the message."""
    parts = {"private": data.private, "aux": data.aux, "test": data.test}
    for name, part in parts.items():
        validate_records(part, data.task, f"{who}: {name} part")
        if part.x.shape[1:] != data.private.x.shape[1:]:
            shape = tuple(part.x.shape[1:])
            raise BadInput(f"{who}: {name} part: records have shape {shape}; those of the private part {data.in_shape}")
        low, high = data.in_range
        if part.x.min() < low or part.x.max() > high:
            raise BadInput(f"{who}: {name} part: values outside in_range {data.in_range}; clamp them on loading")
        if data.task.kind == "classes" and (missing := _missing_classes(part.y, data.task.size)):
            named = ", ".join(map(str, missing))
            raise BadInput(f"{who}: {name} part has no record of class {named} (classes are 0..{data.task.size - 1})")
    _check_parts_are_disjoint(parts, data.flags, who)
    return data


def validate_records(records: Records, task: Task, who: str) -> Records:
    """Return the same records, or raise BadInput: no records, unequal lengths, NaN, labels that do not fit the task."""
    x, y = records.x, records.y
    if not len(x) or x.ndim < 2 or not x.is_floating_point():
        raise BadInput(f"{who}: x has shape {tuple(x.shape)} of {x.dtype}; it must be (n, *in) of floats with n > 0")
    columns = {"y": y, "id": records.id, "group": records.group, "property": records.property}
    for name, t in columns.items():
        if t is not None and (t.ndim == 0 or len(t) != len(x)):
            raise BadInput(f"{who}: x has {len(x)} records, but {name} has shape {tuple(t.shape)}")
    for name, t in (("x", x), ("y", y)):
        if bad := _not_finite(t):
            raise BadInput(f"{who}: {bad} values of {name} are NaN or infinite")
    _check_labels(y, task, who)
    return records


def _check_labels(y: Tensor, task: Task, who: str) -> None:
    if task.kind == "classes":
        if y.ndim != 1 or y.dtype != torch.int64:
            raise BadInput(f"{who}: y has shape {tuple(y.shape)} of {y.dtype}; it must be (n,) class numbers of int64")
        wrong = y[(y < 0) | (y >= task.size)]
        if len(wrong):
            raise BadInput(f"{who}: y has label {int(wrong[0])}; legal: 0..{task.size - 1}")
    elif task.kind == "mask" and (y.ndim != 4 or y.shape[1] != 1 or y.min() < 0 or y.max() > 1):
        raise BadInput(f"{who}: y has shape {tuple(y.shape)}; it must be masks (n, 1, H, W) of values in [0, 1]")
    elif task.kind == "value" and (y.ndim != 2 or y.shape[1] != task.size):
        raise BadInput(f"{who}: y has shape {tuple(y.shape)}; it must be values (n, {task.size})")


def _check_parts_are_disjoint(parts: dict[str, Records], flags: tuple[str, ...], who: str) -> None:
    """Two parts share no record, and no patient unless the flag `patients-shared` declares it.

    With the flag `reference-split` the test part may share records with the two others, as it was published.
    """
    for (a, one), (b, other) in combinations(parts.items(), 2):
        if (a == "private" and b == "aux") or "reference-split" not in flags:
            _check_disjoint(one.id, other.id, f"{who}: the {a} and {b} parts share", "records")
        if one.group is not None and other.group is not None and "patients-shared" not in flags:
            what = "patients, and the flag 'patients-shared' is not set"
            _check_disjoint(one.group, other.group, f"{who}: the {a} and {b} parts share", what)


def _check_disjoint(one: Tensor, other: Tensor, message: str, what: str) -> None:
    if shared := int(torch.isin(one.unique(), other.unique()).sum()):
        raise BadInput(f"{message} {shared} {what}")


def _not_finite(t: Tensor) -> int:
    """How many values are NaN or infinite."""
    if t.sum(dtype=torch.float64).isfinite():  # one such value makes the sum so; much faster than a test of each
        return 0
    return int((~torch.isfinite(t)).sum())


def _missing_classes(y: Tensor, classes: int) -> list[int]:
    return torch.nonzero(torch.bincount(y, minlength=classes) == 0).flatten().tolist()
