"""A dataset is checked once, where it is loaded: finite, in shape and range, every class present, nothing shared."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from splitleak.contract import Data, Records, Task
from splitleak.contract.errors import BadInput


def checked(data: Data, who: str) -> Data:
    """The same data, or BadInput: `who` names the dataset and its files."""
    parts = {"private": data.private, "aux": data.aux, "test": data.test}
    for name, part in parts.items():
        sound(part, data.task, f"{who}: {name} part")
        if part.x.shape[1:] != data.private.x.shape[1:]:
            shapes = f"{tuple(part.x.shape[1:])}, the private part's {data.in_shape}"
            raise BadInput(f"{who}: records of the {name} part have shape {shapes}")
        low, high = data.in_range
        if part.x.min() < low or part.x.max() > high:
            raise BadInput(f"{who}: {name} part has values outside {data.in_range}: clamp them on loading")
        if data.task.kind == "classes" and (missing := _missing(part.y, data.task.size)):
            raise BadInput(
                f"{who}: {name} part has no record of class {', '.join(map(str, missing))} (of 0..{data.task.size - 1})"
            )
    _separate(parts, data.flags, who)
    return data


def sound(records: Records, task: Task, who: str) -> Records:
    """The same records, or BadInput: lengths that differ, no records, NaN, labels that the task does not have."""
    x, y = records.x, records.y
    if not len(x) or x.ndim < 2 or not x.is_floating_point():
        raise BadInput(f"{who}: x has shape {tuple(x.shape)} of {x.dtype}, wanted (n, *in) floats with n > 0")
    rest = {"y": y, "id": records.id, "group": records.group, "property": records.property}
    for name, t in rest.items():
        if t is not None and (t.ndim == 0 or len(t) != len(x)):
            raise BadInput(f"{who}: {len(x)} records in x, but {name} has shape {tuple(t.shape)}")
    for name, t in (("x", x), ("y", y)):
        if bad := _not_finite(t):
            raise BadInput(f"{who}: {bad} values of {name} are NaN or infinite")
    _labels(y, task, who)
    return records


def _labels(y: Tensor, task: Task, who: str) -> None:
    if task.kind == "classes":
        if y.ndim != 1 or y.dtype != torch.int64:
            raise BadInput(f"{who}: y has shape {tuple(y.shape)} of {y.dtype}, wanted (n,) class numbers in int64")
        wrong = y[(y < 0) | (y >= task.size)]
        if len(wrong):
            raise BadInput(f"{who}: y holds label {int(wrong[0])}, wanted 0..{task.size - 1}")
    elif task.kind == "mask" and (y.ndim != 4 or y.shape[1] != 1 or y.min() < 0 or y.max() > 1):
        raise BadInput(f"{who}: y has shape {tuple(y.shape)}, wanted masks (n, 1, H, W) of values in [0, 1]")
    elif task.kind == "value" and (y.ndim != 2 or y.shape[1] != task.size):
        raise BadInput(f"{who}: y has shape {tuple(y.shape)}, wanted (n, {task.size}) values")


def _separate(parts: dict[str, Records], flags: tuple[str, ...], who: str) -> None:
    """No record in two parts; no patient either, unless the flags own up to it."""
    for (a, one), (b, other) in combinations(parts.items(), 2):
        if (a == "private" and b == "aux") or "reference-split" not in flags:
            _disjoint(one.id, other.id, f"{who}: the {a} and {b} parts share", "records")
        if one.group is not None and other.group is not None and "patients-shared" not in flags:
            _disjoint(one.group, other.group, f"{who}: the {a} and {b} parts share", "patients (no flag says so)")


def _disjoint(one: Tensor, other: Tensor, said: str, what: str) -> None:
    if shared := int(torch.isin(one.unique(), other.unique()).sum()):
        raise BadInput(f"{said} {shared} {what}")


def _not_finite(t: Tensor) -> int:
    if t.sum(dtype=torch.float64).isfinite():  # one NaN or infinity and it would not be; far quicker than to look
        return 0
    return int((~torch.isfinite(t)).sum())


def _missing(y: Tensor, classes: int) -> list[int]:
    return torch.nonzero(torch.bincount(y, minlength=classes) == 0).flatten().tolist()
