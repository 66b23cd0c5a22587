"""The intervals are Student's over seeds, of every measure in the records."""

from __future__ import annotations

from collections.abc import Callable
from statistics import stdev
from typing import Any

import pytest

from splitleak.report import intervals


@pytest.mark.slow
def test_each_measure_has_its_mean_and_students_interval(run: Callable[..., list[dict[str, Any]]]) -> None:
    records = run(attack=["blind", "toy_read_off"], clients=[{"n": 2}], seed=[0, 1, 2])
    rows = intervals.table(records).set_index("attack")
    assert len(rows) == 2
    for name, row in rows.iterrows():
        mine = [r for r in records if r["labels"]["attack"] == name]
        assert row["n_seeds"] == len(mine) == 3
        for measure, values in (
            ("mse", [r["metrics"]["mse"] for r in mine]),
            ("utility", [r["utility"] for r in mine]),
            ("utility_balanced_accuracy", [r["utility_also"]["balanced_accuracy"] for r in mine]),
            ("utility_worst_client", [min(client["utility"] for client in r["utility_clients"]) for r in mine]),
        ):
            assert row[measure] == pytest.approx(sum(values) / 3)
            assert row[f"{measure}_ci95"] == pytest.approx(4.302653 * stdev(values) / 3**0.5, rel=1e-5)


@pytest.mark.slow
def test_what_failed_is_left_out(run: Callable[..., list[dict[str, Any]]]) -> None:
    records = run(attack=["blind", "toy_cheat"])
    assert [r["status"] for r in records].count("done") == len(intervals.table(records))
