"""The committed tables: what is called an upper bound is one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
QUESTION = ["dataset", "model", "cut", "protocol", "clients", "aux", "defense", "goal"]
TABLES = sorted(p for p in REFERENCE.glob("*.csv") if {*QUESTION, "advantage_ci95"} <= set(pd.read_csv(p, nrows=0)))
FEW = 0.02  # the interval of a single seed


def beaten(table: pd.DataFrame) -> list[str]:
    """The rows whose advantage is above that of `oracle` on the same victim, by more than the interval of `oracle`."""
    found = []
    for _, rows in table.groupby(QUESTION, dropna=False):
        for bound in rows[rows["attack"].str.partition("(")[0] == "oracle"].itertuples():
            limit = bound.advantage + (bound.advantage_ci95 if bound.n_seeds > 1 else FEW)
            found += [f"{row.attack} on {row.defense}" for row in rows.itertuples() if row.advantage > limit]
    return found


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_nothing_beats_the_oracle(table: Path) -> None:
    assert not beaten(pd.read_csv(table))


def test_a_table_where_something_does_is_noticed() -> None:
    table = pd.read_csv(REFERENCE / "ecg_clean.csv")
    table.loc[table["attack"] == "map_search", "advantage"] += 0.05
    assert "map_search on dropout(rate=0.6)" in beaten(table)
