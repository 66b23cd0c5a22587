"""What the plain values of a message may be: types, ranges and lengths. Nothing is converted; a bool is no number."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from splitleak import __version__
from splitleak.printable import printable, shown
from splitleak.wire.invalid_message import InvalidMessage

DEPTH = 12  # of tables and lists inside each other
LARGEST_NUMBER = 2**63


class Fact(Protocol):
    """One value of a message."""

    def problem(self, value: Any) -> str | None:
        """What is wrong and what is legal, or None."""


@dataclass(frozen=True)
class Whole:
    """A whole number in a range, both ends included."""

    least: int
    most: int

    def problem(self, value: Any) -> str | None:
        if type(value) is int and self.least <= value <= self.most:
            return None
        return f" is {shown(value)}; legal: whole numbers from {self.least} to {self.most}"


@dataclass(frozen=True)
class Number:
    """A finite number no further from 0 than `most`."""

    most: float

    def problem(self, value: Any) -> str | None:
        if type(value) in (int, float) and -self.most <= value <= self.most:
            return None
        return f" is {shown(value)}; legal: numbers from -{self.most:g} to {self.most:g}"


@dataclass(frozen=True)
class Text:
    """Printable text of at most `most` characters; `form`: a regular expression for it, `legal`: the same in words."""

    most: int
    form: str = ".*"
    legal: str = ""

    def problem(self, value: Any) -> str | None:
        if type(value) is str and len(value) <= self.most and value.isprintable() and re.fullmatch(self.form, value):
            return None
        legal = self.legal or f"printable text of at most {self.most} characters"
        return f" is {_measured(value)}; legal: {legal}"


@dataclass(frozen=True)
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]

    def problem(self, value: Any) -> str | None:
        return None if value in self.words else f" is {_measured(value)}; legal: {', '.join(self.words)}"


@dataclass(frozen=True)
class ListOf:
    """A list of values of one kind; `product`: the most that its numbers may give when multiplied."""

    item: Fact
    least: int
    most: int
    product: int | None = None

    def problem(self, value: Any) -> str | None:
        if type(value) is not list or not self.least <= len(value) <= self.most:
            return f" is {_measured(value)}; legal: a list of {self.least} to {self.most} values"
        for place, item in enumerate(value):
            if problem := self.item.problem(item):
                return f"[{place}]{problem}"
        if self.product is not None and math.prod(value) > self.product:
            return f" is {shown(value)}, which gives {math.prod(value)} values; legal: at most {self.product}"
        return None


@dataclass(frozen=True)
class Table:
    """A table whose keys and values are of one kind each."""

    key: Fact
    value: Fact
    most: int

    def problem(self, value: Any) -> str | None:
        if type(value) is not dict or len(value) > self.most:
            return f" is {_measured(value)}; legal: a table of at most {self.most} entries"
        for key, inside in value.items():
            if problem := self.key.problem(key):
                return f" has a key that{problem}"
            if problem := self.value.problem(inside):
                return f"[{key}]{problem}"
        return None


class SameVersion:
    """The version of this end; checked first, because another version may have other values."""

    def problem(self, value: Any) -> str | None:
        if value == __version__:
            return None
        version = printable(value) if type(value) is str and len(value) < 40 else _measured(value)
        raise InvalidMessage(f"splitleak {version}, the server has {__version__}; install the same version")


class Tree:
    """A table of plain values, tables and lists. It is compared with the receiver's own and never used."""

    def problem(self, value: Any) -> str | None:
        if type(value) is dict and _is_plain(value, DEPTH):
            return None
        legal = f"tables, lists, text, finite numbers, true, false and null, at most {DEPTH} levels deep"
        return f" is {_measured(value)}; legal: {legal}"


def check_facts(kind: str, facts: Mapping[str, Any], legal: Mapping[str, Fact]) -> None:
    """InvalidMessage if a value is missing, unknown or not legal."""
    for name, fact in legal.items():
        if name not in facts:
            raise InvalidMessage(f"message '{kind}' has no value '{name}'; legal: all of {', '.join(legal)}")
        if problem := fact.problem(facts[name]):
            raise InvalidMessage(f"message '{kind}': {name}{problem}")
    for name in facts:
        if name not in legal:
            fields = ", ".join(legal) or "none"
            raise InvalidMessage(f"message '{kind}' has an unknown value {shown(name)}; legal: {fields}")


def _is_plain(value: Any, depth: int) -> bool:
    if type(value) is dict:
        return depth > 0 and all(_is_plain(key, 1) and _is_plain(inside, depth - 1) for key, inside in value.items())
    if type(value) is list:
        return depth > 0 and all(_is_plain(inside, depth - 1) for inside in value)
    if type(value) in (int, float):
        return bool(-LARGEST_NUMBER <= value <= LARGEST_NUMBER)  # neither NaN nor infinite
    return value is None or type(value) in (bool, str)


def _measured(value: Any) -> str:
    """A value, or only its size if it is long."""
    if isinstance(value, (str, list, dict)) and len(value) > 100:
        return f"{'text' if isinstance(value, str) else f'a {type(value).__name__}'} of length {len(value)}"
    return shown(value)
