"""Every row of the leaderboard for a terminal, and its CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from splitleak.printable import printable
from splitleak.records import Record
from splitleak.report import csv_file, text
from splitleak.report.victims import Row, blocks, rows_of

if TYPE_CHECKING:
    import pandas as pd


def long_table(board: pd.DataFrame) -> str:
    """All rows, however wide: one block for each kind of victim."""
    parts = []
    for title, rows in blocks(rows_of(board)):
        metric = next((row["utility_metric"] for row in rows if row["utility_metric"]), "utility")
        names = ["defense", "threat", "goal", "attack", metric, "advantage", "reid", "null", "worst", "flags"]
        parts.append(f"{title}\n{text.columns(names, [_line(row) for row in rows])}")
    return "\n\n".join(parts)


def _line(row: Row) -> list[str]:
    named = [row["defense"], row["threat"], row["goal"], row["attack"]]
    if row["status"] != "done":
        return [*named, row["status"], "", "", "", "", row["flags"] or ""]
    return [
        *named, text.number(row["utility"], row["utility_ci95"]), text.number(row["advantage"], row["advantage_ci95"]),
        text.number(row["reid_top1"]), text.number(row["null_advantage"]), text.number(row["worst"]),
        row["flags"] or "",
    ]  # fmt: skip


def write_csv(board: pd.DataFrame, path: Path) -> None:
    """The CSV: whole or absent, six significant digits."""
    plain = board.copy()
    for name in ("cut", "n_seeds", "bytes_up", "bytes_down"):
        plain[name] = plain[name].astype("Int64")
    csv_file.write_table(plain, path)


def cell_name(record: Record) -> str:
    """A cell in one line."""
    cell, labels = record["cell"], record["labels"]
    name = f"attack '{labels['attack']}' on {labels['dataset']}, defense '{labels['defense']}', seed {cell['seed']}"
    return printable(name)
