"""Detectors against attacks: how often each speaks up, how soon, and what the attacker had by then.

`python -m splitleak.detection MATRIX DIR [CSV]`. An honest server's row (attack `blind`) gives the false positives.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from splitleak.report import show
from splitleak.report.table import Record, average, done_by_row

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

    rows = []
    for key, runs in done_by_row(records).items():
        seen = [r for r in runs if r.get("detected_at") is not None]
        batches = median(r["detected_at"] for r in seen) if seen else None
        then, whole = (average([max(0.0, r["metrics"]["advantage"]) for r in part]) for part in (seen, runs))
        rows.append((key[0], key[1], key[7], key[9], len(runs), len(seen), len(seen) / len(runs), batches, then, whole))
    return pd.DataFrame(rows, columns=list(COLUMNS))


if __name__ == "__main__":
    show.summary(summary)
