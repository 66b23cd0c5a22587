"""Every measure of a matrix's rows with its interval over seeds, where the leaderboard has the mean alone.

`python -m splitleak.intervals MATRIX RUNS [OUT.csv]` reads the records of `splitleak run MATRIX --out RUNS`.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from splitleak import matrix
from splitleak.store import Store
from splitleak.table import ROW, Record, address, interval

if TYPE_CHECKING:
    import pandas as pd

TOLD = ("dataset", "model", "cut", "clients", "defense", "goal", "attack")  # of a row's address


def measures(record: Record) -> dict[str, float]:
    """What was measured of the victim (of several clients also the least) and of the guess."""
    found = {"utility": record["utility"]} | (record.get("utility_also") or {})
    own = [client["utility"] for client in record.get("utility_clients") or () if client["utility"] is not None]
    found |= {"utility_worst_client": min(own)} if own else {}
    return found | {name: value for name, value in record["metrics"].items() if isinstance(value, float)}


def table(records: list[Record]) -> pd.DataFrame:
    """A row per cell but for its seed: the mean of each measure, and half the width of Student's 95 % interval."""
    import pandas as pd

    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        if record["status"] == "done":
            groups[address(record)].append(record)
    rows = []
    for key, runs in groups.items():
        row: dict[str, Any] = {name: value for name, value in zip(ROW, key, strict=False) if name in TOLD}
        row |= {"n_seeds": len(runs), "utility_metric": runs[0]["utility_metric"]}
        each = [measures(run) for run in runs]
        for name in each[0]:
            row[name], row[f"{name}_ci95"] = interval([found[name] for found in each if name in found])
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    name, folder, *csv = sys.argv[1:]
    store = Store(Path(folder))
    found = [store.record(cell.key) for cell in matrix.read(name).cells]
    whole = table([record for record in found if record is not None])
    if csv:
        whole.to_csv(csv[0], index=False, float_format="%.6g")
    typer.echo(whole.to_string(index=False, float_format="%.4f"))


if __name__ == "__main__":
    main()
