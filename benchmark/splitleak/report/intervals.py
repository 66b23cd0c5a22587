"""Every measure of a matrix's rows with its interval over seeds; the leaderboard has the mean of most of them.

`python -m splitleak.report.intervals MATRIX RUNS [OUT.csv]` reads the records of `splitleak run MATRIX --out RUNS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from splitleak.records import Record
from splitleak.report import command, labels
from splitleak.report.means import interval
from splitleak.report.rows import done_by_row

if TYPE_CHECKING:
    import pandas as pd

NAMED = ("dataset", "model", "cut", "protocol", "clients", "defense", "goal", "attack")  # more where rows need them


def measures(record: Record) -> dict[str, float]:
    """The measures of the victim (with several clients also the lowest utility of one) and of the guess."""
    also = record.get("utility_also") or {}  # may have the name of a measure of the guess: auc, mse
    found: dict[str, Any] = {"utility": record["utility"]} | {f"utility_{name}": value for name, value in also.items()}
    clients = [client["utility"] for client in record.get("utility_clients") or () if client["utility"] is not None]
    found |= {"utility_worst_client": min(clients)} if clients else {}
    return found | {name: value for name, value in record["metrics"].items() if isinstance(value, float)}


def table(records: Sequence[Record]) -> pd.DataFrame:
    """A row per cell but for its seed: the mean of each measure, and half the width of Student's 95 % interval."""
    import pandas as pd

    groups = done_by_row(records)
    rows = labels.printed(groups)
    named = labels.needed(rows.values(), NAMED)
    return pd.DataFrame([{name: rows[key][name] for name in named} | _measured(runs) for key, runs in groups.items()])


def _measured(runs: Sequence[Record]) -> dict[str, Any]:
    row: dict[str, Any] = {"n_seeds": len(runs), "utility_metric": runs[0]["utility_metric"]}
    each = [measures(run) for run in runs]
    for name in each[0]:
        row[name], row[f"{name}_ci95"] = interval([found[name] for found in each if name in found])
    return row


if __name__ == "__main__":
    command.print_table(table)
