"""Detectors against attacks: how often each speaks up, how soon, and what the attacker had by then.

`python -m splitleak.detection MATRIX DIR [CSV]`. An honest server's row (attack `blind`) gives the false positives.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import typer

from splitleak import matrix
from splitleak.store import Store
from splitleak.table import Record, address, average

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "dataset", "model", "defense", "attack", "runs", "detected", "rate", "batches", "advantage_then", "advantage",
)  # fmt: skip


def summary(records: Sequence[Record]) -> pd.DataFrame:
    """A row per detector and attack: share of runs detected, median batches, mean advantage of those and of all.

    An advantage never counts below 0: whoever does worse than a blind guess guesses blindly.
    """
    import pandas as pd

    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        if record["status"] == "done":
            groups[address(record)].append(record)
    rows = []
    for key, runs in groups.items():
        seen = [r for r in runs if r.get("detected_at") is not None]
        batches = median(r["detected_at"] for r in seen) if seen else None
        then, whole = (average([max(0.0, r["metrics"]["advantage"]) for r in part]) for part in (seen, runs))
        rows.append((key[0], key[1], key[7], key[9], len(runs), len(seen), len(seen) / len(runs), batches, then, whole))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def main() -> None:
    """Read the records of a matrix's cells in a results folder; write the table if told where, and print it."""
    name, folder, *csv = sys.argv[1:]
    store = Store(Path(folder))
    found = [store.record(cell.key) for cell in matrix.read(name).cells]
    table = summary([record for record in found if record is not None])
    if csv:
        table.to_csv(csv[0], index=False, float_format="%.6g")
    typer.echo(table.to_string(index=False))


if __name__ == "__main__":
    main()
