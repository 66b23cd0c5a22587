"""Every measure of a matrix's rows with its interval over seeds, where the leaderboard has the mean alone.

`python -m splitleak.intervals MATRIX RUNS [OUT.csv]` reads the records of `splitleak run MATRIX --out RUNS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from splitleak.report import show
from splitleak.report.table import ROW, Record, done_by_row, interval

if TYPE_CHECKING:
    import pandas as pd

TOLD = ("dataset", "model", "cut", "protocol", "clients", "defense", "goal", "attack")  # of a row's address


def measures(record: Record) -> dict[str, float]:
    """What was measured of the victim (of several clients also the least) and of the guess."""
    also = record.get("utility_also") or {}  # may bear the name of a measure of the guess: auc, mse
    found = {"utility": record["utility"]} | {f"utility_{name}": value for name, value in also.items()}
    own = [client["utility"] for client in record.get("utility_clients") or () if client["utility"] is not None]
    found |= {"utility_worst_client": min(own)} if own else {}
    return found | {name: value for name, value in record["metrics"].items() if isinstance(value, float)}


def table(records: list[Record]) -> pd.DataFrame:
    """A row per cell but for its seed: the mean of each measure, and half the width of Student's 95 % interval."""
    import pandas as pd

    rows = []
    for key, runs in done_by_row(records).items():
        row: dict[str, Any] = {name: value for name, value in zip(ROW, key, strict=False) if name in TOLD}
        row |= {"n_seeds": len(runs), "utility_metric": runs[0]["utility_metric"]}
        each = [measures(run) for run in runs]
        for name in each[0]:
            row[name], row[f"{name}_ci95"] = interval([found[name] for found in each if name in found])
        rows.append(row)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    show.summary(table)
