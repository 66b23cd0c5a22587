"""Every row of the leaderboard for a terminal, and its CSV."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from splitleak.records import Record
from splitleak.report import text
from splitleak.report.summary import VICTIM, title
from splitleak.store import write

if TYPE_CHECKING:
    import pandas as pd


def long_table(board: pd.DataFrame) -> str:
    """All rows, however wide: one block for each kind of victim."""
    blocks = []
    for shared, rows in board.groupby(list(VICTIM), sort=False, dropna=False):
        metric = (rows["utility_metric"].dropna().iloc[:1].to_list() or ["utility"])[0]
        names = ["defense", "threat", "goal", "attack", metric, "advantage", "reid", "null", "worst", "flags"]
        lines = [_line(row) for row in rows.to_dict("records")]
        blocks.append(f"{title(*cast(tuple[Any, ...], shared))}\n{text.columns(names, lines)}")
    return "\n\n".join(blocks)


def _line(row: dict[Hashable, Any]) -> list[str]:
    named = [row["defense"], row["threat"], row["goal"], row["attack"]]
    if row["status"] != "done":
        return [*named, row["status"], "", "", "", "", row["flags"]]
    return [
        *named, text.number(row["utility"], row["utility_ci95"]), text.number(row["advantage"], row["advantage_ci95"]),
        text.number(row["reid_top1"]), text.number(row["null_advantage"]), text.number(row["worst"]), row["flags"],
    ]  # fmt: skip


def write_csv(board: pd.DataFrame, path: Path) -> None:
    """The CSV: whole or absent, six significant digits."""
    plain = board.copy()
    for name in ("cut", "n_seeds", "bytes_up", "bytes_down"):
        plain[name] = plain[name].astype("Int64")
    write(path, plain.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode())


def cell_name(record: Record) -> str:
    """A cell in one line."""
    cell, labels = record["cell"], record["labels"]
    return f"attack '{labels['attack']}' on {labels['dataset']}, defense '{labels['defense']}', seed {cell['seed']}"
