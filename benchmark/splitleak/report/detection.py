"""Detectors of hijacks: how often each one fires, how soon, and the attacker's advantage at that moment.

`python -m splitleak.report.detection MATRIX DIR [CSV]`. The row of an honest server (attack `blind`) has the false
positives.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from splitleak.records import Record
from splitleak.report import command, labels
from splitleak.report.means import average
from splitleak.report.rows import done_by_row

if TYPE_CHECKING:
    import pandas as pd

NAMED = ("dataset", "model", "defense", "attack")  # columns of a row's address, and more where rows need them
MEASURED = ("runs", "detected", "rate", "batches", "advantage_then", "advantage")


def summary(records: Sequence[Record]) -> pd.DataFrame:
    """A row per detector and attack: share of runs detected, median batches, mean advantage of those and of all.

    An advantage counts as at least 0: an attacker whose attack does worse can still make the blind guess.
    """
    import pandas as pd

    groups = done_by_row(records)
    rows = labels.printed(groups)
    named = labels.needed(rows.values(), NAMED)
    found = [{name: rows[key][name] for name in named} | _measured(runs) for key, runs in groups.items()]
    return pd.DataFrame(found, columns=[*named, *MEASURED])


def _measured(runs: Sequence[Record]) -> dict[str, Any]:
    detected = [r for r in runs if r.get("detected_at") is not None]
    batches = median([at for r in detected if (at := r["detected_at"]) is not None]) if detected else None
    then, whole = (average([max(0.0, r["metrics"]["advantage"]) for r in part]) for part in (detected, runs))
    values = (len(runs), len(detected), len(detected) / len(runs), batches, then, whole)
    return dict(zip(MEASURED, values, strict=True))


if __name__ == "__main__":
    command.print_table(summary)
