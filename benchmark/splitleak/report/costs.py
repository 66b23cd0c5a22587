"""What each attack of a matrix costs: its cells, the minutes of all, their share, and the longest cell's minutes.

`python -m splitleak.report.costs MATRIX DIR [CSV]`. A cell's minutes are those of the attack and all that belongs to
it: its run on the null channel, its control population, other draws of the hints and the scoring; not the training of
the victim, which all attacks on it share. A clock measured them, so they are right where the machine did nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from splitleak.records import Record
from splitleak.report import command

if TYPE_CHECKING:
    import pandas as pd


def table(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each attack, the dearest first."""
    import pandas as pd

    minutes: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in records:
        minutes[record["cell"]["goal"], record["labels"]["attack"]].append(record["seconds"] / 60)
    whole = sum(map(sum, minutes.values())) or 1.0
    dearest = sorted(minutes, key=lambda name: sum(minutes[name]), reverse=True)
    return pd.DataFrame([_row(*name, minutes[name], whole) for name in dearest])


def _row(goal: str, attack: str, minutes: Sequence[float], whole: float) -> dict[str, Any]:
    spent = sum(minutes)
    named = {"goal": goal, "attack": attack, "cells": len(minutes), "minutes": spent}
    return named | {"share": spent / whole, "longest": max(minutes)}


if __name__ == "__main__":
    command.print_table(table)
