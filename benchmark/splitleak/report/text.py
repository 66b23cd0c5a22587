"""Text in columns for a terminal of a given width: numbers, aligned columns, labels cut to fit."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

ELLIPSIS = "…"
GAP = 2  # blanks between columns


def missing(value: Any) -> bool:
    """None, or the NaN that pandas puts in its place."""
    return value is None or value != value


def number(value: Any, half_width: Any = None) -> str:
    """`0.975±0.008`; empty where there is no number, without the interval where there is none."""
    if missing(value):
        return ""
    return f"{value:.3f}" if missing(half_width) else f"{value:.3f}±{half_width:.3f}"


def short_number(value: Any, half_width: Any = None) -> str:
    """`.975±.008`: as `number`, without the zero before the point; three digits where the value is 100 or more."""
    if missing(value):
        return ""
    text = f"{value:.3g}" if abs(value) >= 100 else re.sub(r"^(-?)0\.", r"\1.", f"{value:.3f}")
    return text if missing(half_width) else f"{text}±{short_number(half_width)}"


def count(n: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def columns(names: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Lines under their names, each column as wide as its longest text."""
    widths = [max(len(line[i]) for line in (names, *lines)) for i in range(len(names))]
    return "\n".join(row(line, widths) for line in (names, *lines))


def row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return (" " * GAP).join(padded).rstrip()


def shorten(text: str, width: int) -> str:
    """The start of a text, and an ellipsis where some of it is left out."""
    return text if len(text) <= width else text[: max(width - 1, 0)].rstrip() + ELLIPSIS


def wrap(text: str, width: int, indent: int = 0, first: int = 0) -> str:
    """The words of a text in lines of at most `width`; `indent` and `first` are blanks before the lines."""
    return textwrap.fill(
        text, width, initial_indent=" " * first, subsequent_indent=" " * indent, break_on_hyphens=False
    )


def fit_labels(labels: Sequence[str], width: int) -> dict[str, str]:
    """Labels cut to a width so that different ones stay different.

    A label that is too long first loses the parameters that all labels of its name share; then it is cut; where two
    come out alike, they are numbered.
    """
    distinct = list(dict.fromkeys(labels))
    fitted: dict[str, str] = {}
    for label, distinctive in zip(distinct, without_shared(distinct), strict=True):
        text = label if len(label) <= width else shorten(distinctive, width)
        count = 2
        while text in fitted.values():
            mark = f"{ELLIPSIS}{count}"
            text, count = label[: width - len(mark)] + mark, count + 1
        fitted[label] = text
    return fitted


def without_shared(labels: Sequence[str]) -> list[str]:
    """`gaussian(epsilon=1, …)` where the other parameters are the same in all labels of that name."""
    return [_distinctive(label, labels) for label in labels]


def _distinctive(label: str, labels: Sequence[str]) -> str:
    name = label.partition("(")[0]
    parts = {other: _parameters(other) for other in labels if other.partition("(")[0] == name}
    shared = set.intersection(*map(set, parts.values()))
    own = [part for part in parts[label] if part not in shared]
    if not own or len(own) == len(parts[label]):
        return label
    return f"{name}({', '.join([*own, ELLIPSIS])})"


def _parameters(label: str) -> list[str]:
    return re.split(r", (?=\w+=)", label.partition("(")[2].removesuffix(")"))
