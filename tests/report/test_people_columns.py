"""What the table says of attacks on people: how many there are, and whether their interval holds 0."""

from __future__ import annotations

from typing import Any

import pytest

from splitleak.report.table import leaderboard

from .test_leaderboard import record


def linked(advantage: float, half: float, people: int | None = 25, attack: str = "linkage") -> dict[str, Any]:
    made = record(attack, advantage=advantage, goal="linkage", bootstrap_ci95=half, people=people)
    made["metrics"] |= {"auc": (1 + advantage) / 2, "auc_raw": 0.9, "auc_class": 0.8}
    return made


@pytest.mark.parametrize(("advantage", "flagged"), [(0.5, False), (0.2, True), (-0.2, True), (-0.5, False)])
def test_a_row_is_flagged_where_the_interval_over_people_holds_0(advantage: float, flagged: bool) -> None:
    board = leaderboard([linked(advantage, 0.3)])
    assert ("within-chance" in board["flags"][0].split()) is flagged
    assert (board["people"][0], board["people_ci95"][0]) == (25, 0.3)
    assert (board["auc_raw"][0], board["auc_class"][0]) == (0.9, 0.8)


def test_where_people_are_unknown_nothing_is_said_of_them_and_a_blind_guess_is_not_flagged() -> None:
    unknown = leaderboard([linked(0.2, 0.3, people=None)])
    assert "within-chance" not in unknown["flags"][0].split()
    assert unknown["people_ci95"].isna()[0]
    assert "within-chance" not in leaderboard([linked(0.0, 0.0, attack="blind")])["flags"][0].split()
