"""What papers report for the setting of a row of the leaderboard, beside what the row measured.

The figures are those of `published.py` (accuracy of split ECG networks) and `published_attacks.py`. A row has one where
its network, records, attack and settings are those of the matrix that measures the figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

from splitleak.records import Record
from splitleak.report.published import REPORTED
from splitleak.report.published_attacks import FIGURES, VICTIMS, Figure
from splitleak.report.victims import Row

ECG = "ecg(split=reference)"  # the published split


def beside(row: Row, records: Sequence[Record] = ()) -> list[dict[str, Any]]:
    """A line for each published figure: metric, reported, measured, and the paper with its setting."""
    return [*_accuracy(row), *_of_the_attack(row, records)]


def _accuracy(row: Row) -> Iterator[dict[str, Any]]:
    if row["dataset"] != ECG or row.get("utility") is None:
        return
    for (epsilon, layers), figures in REPORTED.items():
        model = f"ecg_cnn({'' if layers == 2 else f'layers={layers}, '}softmax_head=True)"
        defense = "none" if epsilon is None else f"laplace_range(epsilon={epsilon:g})"
        if (row["model"], row["defense"]) == (model, defense):
            source = "Abuadbba et al. 2020: the best of 400 epochs on the test part; measured: the last epoch"
            yield {"metric": "accuracy", "reported": figures.accuracy, "measured": row["utility"], "source": source}


def _of_the_attack(row: Row, records: Sequence[Record]) -> Iterator[dict[str, Any]]:
    if row["defense"] != "none":
        return
    for figure in FIGURES:
        victim = (row["dataset"], row["model"], row.get("settings"))
        if victim == VICTIMS[figure.matrix] and (row["cut"], row["attack"]) == (figure.cut, figure.attack):
            measured = _measured(figure, row, records)
            if measured is not None:
                source = f"{figure.paper}, {figure.setting}; measured: {figure.variant}"
                yield {"metric": figure.metric, "reported": figure.reported, "measured": measured, "source": source}


def _measured(figure: Figure, row: Row, records: Sequence[Record]) -> float | None:
    """In the paper's unit. None where the row does not have it, as the functionality of a stand-in."""
    if figure.step is None:
        value = row.get(figure.metric)
    else:
        found = [p["error"] for record in records for p in record.get("curve", []) if p["step"] == figure.step]
        value = mean(found) if found else None
    return None if value is None else figure.scale * float(value)
