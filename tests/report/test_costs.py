"""What attacks cost, and the strongest one of each defence and threat model: tables for a suite's run."""

from __future__ import annotations

from typing import Any

import pytest

from splitleak.report import costs, verdicts

from .test_leaderboard import record


def test_the_shares_of_all_attacks_are_one() -> None:
    cells = [record(attack="fsha", seed=0), record(attack="fsha", seed=1), record(attack="channel")]
    for cell, seconds in zip(cells, (60.0, 180.0, 80.0), strict=True):
        cell["seconds"] = seconds
    table = costs.table(cells).set_index("attack")
    assert list(table.index) == ["fsha", "channel"]
    assert list(table["cells"]) == [2, 1]
    assert list(table["longest"]) == pytest.approx([3, 80 / 60])
    assert list(table["share"]) == pytest.approx([0.75, 0.25])


def found(*records: Any) -> dict[tuple[str, str], dict[str, Any]]:
    rows = verdicts.table(list(records)).to_dict("records")
    return {(str(row["defense"]), str(row["threat"])): {str(k): v for k, v in row.items()} for row in rows}


def test_a_verdict_is_of_the_strongest_attack_of_all_that_hold_no_more() -> None:
    weak = record(attack="inverse_network", threat="query_server", advantage=0.4)
    strong = record(attack="channel", threat="eavesdropper", advantage=0.9)
    rows = found(weak, strong)
    assert {threat: row["attack"] for (_, threat), row in rows.items()} == {
        "eavesdropper": "channel", "query_server": "channel",
    }  # fmt: skip
    assert [row["advantage"] for row in rows.values()] == pytest.approx([0.9, 0.9])


def test_a_verdict_says_where_attacks_are_missing() -> None:
    rows = found(record(attack="channel", threat="eavesdropper", advantage=0.9))
    assert not rows["none", "eavesdropper"]["complete"]
