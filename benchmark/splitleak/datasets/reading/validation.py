"""Checks of a loaded dataset: types, shapes, range, classes; what the parts share has a file of its own."""

from __future__ import annotations

from math import isfinite
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from splitleak.contract import Data, Records, Task
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.copies import check_copies, check_parts_are_disjoint

SMALLEST: dict[Any, int] = {"classes": 2, "mask": 1, "value": 1}  # the least size of each kind of task


def validate(data: Data, who: str) -> Data:
    """Return the same data, or raise BadInput; `who` names the dataset and its files at the start of the message."""
    _check_form(data, who)
    parts = {"private": data.private, "aux": data.aux, "test": data.test}
    for name, part in parts.items():
        validate_records(part, data.task, f"{who}: {name} part")
        for what in ("x", "y"):
            shape, first = (tuple(getattr(records, what).shape[1:]) for records in (part, data.private))
            if shape != first:
                raise BadInput(f"{who}: {name} part: {what} has records {shape}; those of the private part {first}")
        low, high = data.in_range
        if part.x.min() < low or part.x.max() > high:
            raise BadInput(f"{who}: {name} part: values outside in_range {data.in_range}; clamp them on loading")
        if data.task.kind == "classes" and (missing := _missing_classes(part.y, data.task.size)):
            named = ", ".join(map(str, missing))
            raise BadInput(f"{who}: {name} part has no record of class {named} (classes are 0..{data.task.size - 1})")
    check_parts_are_disjoint(parts, data.flags, who)
    check_copies(parts, who)
    return data


def validate_records(records: Records, task: Task, who: str) -> Records:
    """Return the same records, or raise BadInput: wrong types or lengths, NaN, labels that do not fit the task."""
    x, y = records.x, records.y
    columns = {"y": y, "id": records.id, "group": records.group, "property": records.property}
    for name, t in ({"x": x} | columns).items():
        _check_tensor(t, name, who)
    if not len(x) or x.ndim < 2 or x.dtype != torch.float32:
        raise BadInput(f"{who}: x has shape {tuple(x.shape)} of {x.dtype}; it must be (n, *in) of float32 with n > 0")
    for name, t in columns.items():
        if t is not None and (t.ndim == 0 or len(t) != len(x)):
            raise BadInput(f"{who}: x has {len(x)} records, but {name} has shape {tuple(t.shape)}")
    for name, t in (("id", records.id), ("group", records.group)):
        if t is not None and (t.ndim != 1 or t.dtype != torch.int64):
            raise BadInput(f"{who}: {name} has shape {tuple(t.shape)} of {t.dtype}; it must be (n,) of int64")
    yes_or_no = records.property
    if yes_or_no is not None and (yes_or_no.ndim != 1 or not ((yes_or_no == 0) | (yes_or_no == 1)).all()):
        raise BadInput(f"{who}: property has shape {tuple(yes_or_no.shape)}; it must be (n,) of 0 and 1")
    for name, t in (("x", x), ("y", y)):
        if bad := _not_finite(t):
            raise BadInput(f"{who}: {bad} values of {name} are NaN or infinite")
    _check_labels(y, task, who)
    return records


def _check_form(data: Any, who: str) -> None:
    """The types of everything but the records, the range and the task."""
    if not isinstance(data, Data):
        raise BadInput(f"{who}: load returned {type(data).__name__}; it must be Data")
    kinds = {"private": Records, "aux": Records, "test": Records, "task": Task, "flags": tuple, "notes": tuple}
    for name, wanted in kinds.items():
        if not isinstance(value := getattr(data, name), wanted):
            raise BadInput(f"{who}: {name} is {type(value).__name__}; it must be {wanted.__name__}")
    if wrong := [word for word in (*data.flags, *data.notes) if not isinstance(word, str)]:
        raise BadInput(f"{who}: flags and notes are text, not {type(wrong[0]).__name__}")
    _check_task(data.task.kind, data.task.size, who)
    _check_range(data.in_range, who)


def _check_task(kind: Any, size: Any, who: str) -> None:
    legal = type(size) is int and size >= SMALLEST.get(kind, size + 1) and (kind != "mask" or size == 1)
    if not legal:
        raise BadInput(f"{who}: the task is '{kind}' of {size}; legal: classes of 2 or more, mask of 1, value of 1 up")


def _check_range(limits: Any, who: str) -> None:
    two = isinstance(limits, tuple) and len(limits) == 2 and all(isinstance(n, Real) for n in limits)
    if not two or not all(map(isfinite, limits)) or not limits[0] < limits[1]:
        raise BadInput(f"{who}: in_range is {limits}; it must be (low, high), both finite, the lower one first")


def _check_tensor(t: Any, name: str, who: str) -> None:
    """A plain tensor; group and property may be missing."""
    if t is None and name in ("group", "property"):
        return
    if not isinstance(t, Tensor):
        raise BadInput(f"{who}: {name} is {type(t).__name__}; it must be a tensor")
    if t.layout != torch.strided or t.requires_grad:
        raise BadInput(f"{who}: {name} is sparse or requires a gradient; it must be a plain tensor")


def _check_labels(y: Tensor, task: Task, who: str) -> None:
    if task.kind == "classes":
        if y.ndim != 1 or y.dtype != torch.int64:
            raise BadInput(f"{who}: y has shape {tuple(y.shape)} of {y.dtype}; it must be (n,) class numbers of int64")
        wrong = y[(y < 0) | (y >= task.size)]
        if len(wrong):
            raise BadInput(f"{who}: y has label {int(wrong[0])}; legal: 0..{task.size - 1}")
    elif not y.is_floating_point():
        raise BadInput(f"{who}: y is {y.dtype}; the labels of task '{task.kind}' must be floats")
    elif task.kind == "mask" and (y.ndim != 4 or y.shape[1] != 1 or y.min() < 0 or y.max() > 1):
        raise BadInput(f"{who}: y has shape {tuple(y.shape)}; it must be masks (n, 1, H, W) of values in [0, 1]")
    elif task.kind == "value" and (y.ndim != 2 or y.shape[1] != task.size):
        raise BadInput(f"{who}: y has shape {tuple(y.shape)}; it must be values (n, {task.size})")


def _not_finite(t: Tensor) -> int:
    """How many values are NaN or infinite."""
    if t.sum(dtype=torch.float64).isfinite():  # one such value makes the sum so; much faster than a test of each
        return 0
    return int((~torch.isfinite(t)).sum())


def _missing_classes(y: Tensor, classes: int) -> list[int]:
    return torch.nonzero(torch.bincount(y, minlength=classes) == 0).flatten().tolist()
