"""The axes of a matrix: each list and each table on it becomes a list of plain values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator
from math import prod
from typing import Any, get_args

from splitleak.contract import Protocol
from splitleak.contract.errors import BadInput, did_you_mean
from splitleak.contract.threats import THREATS
from splitleak.printable import shown

AXES = ("dataset", "model", "cut", "protocol", "clients", "threat", "aux", "defense", "attack", "seed")
DEFAULTS: dict[str, list[Any]] = {
    "cut": [None], "protocol": [None], "clients": [1], "threat": [None], "aux": ["same"], "defense": ["none"],
    "attack": ["blind"], "seed": [0],
}  # fmt: skip
LEGAL = {"protocol": get_args(Protocol), "threat": tuple(THREATS)}
LIMIT = 100_000  # cells of a matrix: they are planned within seconds, and fit into a gigabyte of memory

Axes = dict[str, list[Any]]  # axis -> its values, each a whole number, a name, None or a table without lists


def written(block: dict[str, Any]) -> Axes:
    """The axes of one `[matrix]` as they are written, with the default values of those that are missing."""
    for axis in block:
        if axis not in AXES:
            raise BadInput(f"no axis {shown(axis)}{did_you_mean(axis, AXES)} (axes: {', '.join(AXES)})")
    for axis in ("dataset", "model"):
        if axis not in block:
            raise BadInput(f"[matrix] needs '{axis}'")
    axes: Axes = {axis: block[axis] if axis in block else DEFAULTS[axis] for axis in AXES}
    for axis, values in axes.items():
        if not isinstance(values, list) or not values:
            raise BadInput(f"axis '{axis}' must be a list that is not empty, not {shown(values)}")
    return axes


def refuse_too_many(blocks: list[Axes], attacks_in: Callable[[Any], int]) -> None:
    """BadInput where the blocks multiply out to more than LIMIT cells: computed from lengths, nothing is expanded.

    attacks_in: how many attacks a value of the attack axis stands for.
    """
    counts = [
        {axis: sum(_points_in(v) * (attacks_in(v) if axis == "attack" else 1) for v in values)
         for axis, values in axes.items()}
        for axes in blocks
    ]  # fmt: skip
    cells = sum(prod(count.values()) for count in counts)
    if cells > LIMIT:
        largest = max(counts, key=lambda count: prod(count.values()))
        factors = " x ".join(f"{n:,} {axis}" for axis, n in largest.items() if n > 1)
        where = f"{factors}" if len(blocks) == 1 else f"the largest [[matrix]] has {factors}"
        raise BadInput(f"{cells:,} cells ({where}), and a matrix may have {LIMIT:,}: split the matrix")


def _points_in(value: Any) -> int:
    """How many values a table with lists stands for."""
    return prod(len(v) for v in value.values() if isinstance(v, list)) if isinstance(value, dict) else 1


def expanded(axes: Axes) -> Axes:
    """The same axes with every list inside a table multiplied out; BadInput for a wrong type or a repeated value."""
    whole = {axis: _expand(axis, values) for axis, values in axes.items()}
    for axis, values in whole.items():
        seen: set[Hashable] = set()
        for value in values:
            if (plain := _hashable(value)) in seen:
                raise BadInput(f"axis '{axis}' holds {shown(value)} twice")
            seen.add(plain)
    return whole


def _expand(axis: str, values: list[Any]) -> list[Any]:
    if axis in ("cut", "seed"):
        return _whole_numbers(axis, values)
    if axis in LEGAL:
        _check_names(axis, values)
    if axis == "threat":
        return values
    return [point for value in values for point in _points(_table(axis, value), axis)]


def _whole_numbers(axis: str, values: list[Any]) -> list[Any]:
    for value in values:
        own = axis == "cut" and value is None  # the model's own cut
        if not own and (type(value) is not int or value < 0):  # for isinstance True is an int
            raise BadInput(f"axis '{axis}' takes whole numbers from 0, not {shown(value)}")
    return values


def _check_names(axis: str, values: list[Any]) -> None:
    legal = LEGAL[axis]
    for value in values:
        name = value.get("name") if axis == "protocol" and isinstance(value, dict) else value
        if name is not None and name not in legal:
            raise BadInput(
                f"no {axis} {shown(str(name))}{did_you_mean(str(name), legal)} ({axis}s: {', '.join(legal)})"
            )


def _table(axis: str, value: Any) -> dict[str, Any]:
    """A value as the table that it is short for."""
    if axis == "clients" and type(value) is int:
        return {"n": value}
    if isinstance(value, str) or (axis == "protocol" and value is None):
        return {"name": value}
    named = isinstance(value, dict) and ("name" in value if axis == "protocol" else isinstance(value.get("name"), str))
    if not isinstance(value, dict) or not (named or axis == "clients"):
        raise BadInput(f"axis '{axis}': each is a name or a table with a name, not {shown(value)}")
    return value


def _points(table: dict[str, Any], axis: str) -> Iterator[dict[str, Any]]:
    """A table once for each combination of the lists in it."""
    for key, value in table.items():
        if value == []:
            raise BadInput(f"axis '{axis}': {shown(key)} is an empty list")
    choices = [value if isinstance(value, list) else [value] for value in table.values()]
    for values in itertools.product(*choices):
        yield dict(zip(table, values, strict=True))


def _hashable(value: Any) -> Hashable:
    if isinstance(value, dict):
        return frozenset((key, _hashable(inside)) for key, inside in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
