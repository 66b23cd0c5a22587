"""Detectors of hijacks: how often each one fires, how soon, and the attacker's advantage at that moment.

`python -m splitleak.report.detection MATRIX DIR [CSV]`. The row of an honest server (attack `blind`) has the false
positives.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from splitleak.records import Record
from splitleak.report import command
from splitleak.report.means import average
from splitleak.report.rows import RowKey, done_by_row

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "dataset", "model", "defense", "attack", "runs", "detected", "rate", "batches", "advantage_then", "advantage",
)  # fmt: skip


def summary(records: Sequence[Record]) -> pd.DataFrame:
    """A row per detector and attack: share of runs detected, median batches, mean advantage of those and of all.

    An advantage counts as at least 0: an attacker whose attack does worse can still make the blind guess.
    """
    import pandas as pd

    return pd.DataFrame([_row(key, runs) for key, runs in done_by_row(records).items()], columns=list(COLUMNS))


def _row(key: RowKey, runs: Sequence[Record]) -> tuple[Any, ...]:
    detected = [r for r in runs if r.get("detected_at") is not None]
    batches = median([at for r in detected if (at := r["detected_at"]) is not None]) if detected else None
    then, whole = (average([max(0.0, r["metrics"]["advantage"]) for r in part]) for part in (detected, runs))
    share = len(detected) / len(runs)
    return (
        key.dataset, key.model, key.defense, key.attack, len(runs), len(detected), share, batches, then, whole,
    )  # fmt: skip


if __name__ == "__main__":
    command.print_table(summary)
