"""A matrix as plain values: text, numbers, true and false, None, lists and tables. Anything else is BadInput.

Every matrix passes here before its sections are read, a dict of Python as well as a file.
"""

from __future__ import annotations

import re
from typing import Any

from splitleak.contract.errors import BadInput
from splitleak.printable import shown

DEEPEST = 12  # lists and tables inside each other
MOST = 1_000_000  # values in all
LONGEST = 1_000  # characters of a text
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")  # all but tabs and line breaks
LEGAL = "legal: text, numbers, true and false, lists, and tables whose keys are text"
Where = tuple[object, ...]  # keys and positions from the whole matrix to a value


def plain_values(raw: dict[str, Any]) -> dict[str, Any]:
    """A copy of a matrix that shares no list and no table with it."""
    copied: dict[str, Any] = _Copy().of(raw, ())
    return copied


class _Copy:
    def __init__(self) -> None:
        self.left = MOST

    def of(self, value: Any, where: Where) -> Any:
        """A copy of one value; BadInput says where in the matrix it is."""
        self.left -= 1
        if self.left < 0:
            raise BadInput(f"more than {MOST:,} values; split the matrix")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _text(value, where)
        if isinstance(value, int):
            return _whole(value, where)
        if isinstance(value, float):
            return float.__float__(value)
        if not isinstance(value, list | dict):
            raise BadInput(f"{_place(where)}: a value of the type {_type(value)}; {LEGAL}")
        if len(where) >= DEEPEST:
            raise BadInput(
                f"{_place(where[:4])}...: lists and tables more than {DEEPEST} deep, or one that holds itself"
            )
        if isinstance(value, list):
            return [self.of(inside, (*where, i)) for i, inside in enumerate(list.copy(value))]
        return {_key(key, where): self.of(inside, (*where, key)) for key, inside in dict.items(value)}


def _key(key: Any, where: Where) -> str:
    if not isinstance(key, str):
        raise BadInput(f"{_place(where)}: a key of the type {_type(key)}; {LEGAL}")
    return _text(key, where)


def _text(value: str, where: Where) -> str:
    value = str.__str__(value)
    if len(value) > LONGEST:
        raise BadInput(f"{_place(where)}: {shown(value)} has {len(value):,} characters; legal: at most {LONGEST:,}")
    if found := CONTROL.search(value):
        raise BadInput(f"{_place(where)}: {shown(value)} has the control character {shown(found[0])}; legal: text")
    return value


def _whole(value: int, where: Where) -> int:
    value = int.__int__(value)
    if not -(2**63) <= value < 2**63:
        raise BadInput(f"{_place(where)}: a whole number of more than 64 bits; legal: a smaller one, or one like 1e20")
    return value


def _place(where: Where) -> str:
    """`matrix.attack[0].name`"""
    if not where:
        return "the matrix"
    keys = (f"[{key}]" if isinstance(key, int) else f".{shown(key)[1:-1]}" for key in where)
    return "".join(keys).removeprefix(".")


def _type(value: object) -> str:
    kind = type(value)
    return shown(kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}")[1:-1]
