"""The answer of a suite: for each victim, goal and threat model the strongest attack, and its figures.

`python -m splitleak.report.verdicts MATRIX DIR [CSV]`. A row is a line of the summary: the strongest working attack of
all threat models that hold no more than the line's, with its interval over seeds, what it gets of strangers (control),
of whom it re-identifies, and what it finds on a channel without information.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from splitleak.records import Record
from splitleak.report import command
from splitleak.report.strongest import Best, defenses_of, is_partial
from splitleak.report.table import leaderboard
from splitleak.report.victims import VICTIM, blocks, rows_of

if TYPE_CHECKING:
    import pandas as pd

FIGURES = ("control_advantage", "reid_top1", "label_accuracy", "auc", "null_advantage")


def table(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each victim, defence, goal and threat model."""
    import pandas as pd

    found = []
    for _, rows in blocks(rows_of(leaderboard(records))):
        for goal in dict.fromkeys(row["goal"] for row in rows):
            for defense in defenses_of([row for row in rows if row["goal"] == goal]):
                shared = {name: defense.rows[0][name] for name in VICTIM if name in defense.rows[0]}
                shared |= {"defense": defense.name, "utility": defense.utility, "goal": goal}
                found += [shared | _line(best, defense.rows) for best in defense.threats]
    return pd.DataFrame(found)


def _line(best: Best, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    here = [row for row in rows if row["threat"] == best.threat]
    row = best.row or {}
    return {
        "threat": best.threat,
        "complete": not any(map(is_partial, here)),
        "attack": row.get("attack", best.why),
        "advantage": best.advantage,
        "advantage_ci95": best.advantage_ci95,
        "n_seeds": row.get("n_seeds"),
    } | {name: row.get(name) for name in FIGURES}


if __name__ == "__main__":
    command.print_table(table)
