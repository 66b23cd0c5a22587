"""Rows of the leaderboard in blocks: one for each kind of victim and its settings, with what they share as a title."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from splitleak.report import text

if TYPE_CHECKING:
    import pandas as pd

VICTIM = ("dataset", "model", "cut", "protocol", "clients", "aux")  # printed once, above the rows that share it
DEFAULT = "default settings"
Row = dict[str, Any]


def rows_of(board: pd.DataFrame) -> list[Row]:
    """The rows with None in empty places."""
    return [{str(k): None if text.missing(v) else v for k, v in row.items()} for row in board.to_dict("records")]


def blocks(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Title and rows of each block; the title has the settings where the same victim was trained with several."""
    victims: dict[tuple[Any, ...], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        victims[tuple(row[name] for name in VICTIM)][row.get("settings") or ""].append(row)
    for victim, each in victims.items():
        for settings, those in each.items():
            yield title(*victim) + (f", {settings or DEFAULT}" if len(each) > 1 else ""), those


def title(dataset: str, model: str, cut: float | None, protocol: str, clients: str, aux: str) -> str:
    where = "" if cut is None else f", cut {int(cut)}"
    more = ("" if str(clients) == "1" else f", clients {clients}") + ("" if aux == "same" else f", aux {aux}")
    return f"{dataset} / {model}{where}, {protocol}{more}"
