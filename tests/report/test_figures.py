"""The figures of the README: what they show of a table, and that marks which found nothing are hollow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from splitleak.report import figures

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
vl_convert = pytest.importorskip("vl_convert")


def svg(chart: Any) -> str:
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


def test_a_threat_whose_attacks_find_nothing_is_a_hollow_mark() -> None:
    row = {"goal": "inputs", "utility": 0.9, "utility_ci95": 0.1}
    rows = [row | {"defense": d, "threat": t, "worst": w}
            for d, t, w in (("none", "eavesdropper", 0.9), ("noise(epsilon=1)", "eavesdropper", 0.4),
                            ("noise(epsilon=1)", "white_box", 0.0))]  # fmt: skip
    drawn = svg(figures.worst_cases(pd.DataFrame(rows)))
    marks = re.findall(r'<path aria-label="advantage[^"]*exact: ([\d.]+);', drawn)
    filled = re.findall(r'<path aria-label="advantage[^"]*exact: ([\d.]+);[^>]*fill="#', drawn)
    assert sorted(map(float, marks)) == [0.0, 0.4, 0.9]
    assert sorted(map(float, filled)) == [0.4, 0.9]
    assert "hollow: no attack beat guessing" in drawn


def test_the_sweep_shows_both_measures_of_each_strength() -> None:
    drawn = svg(figures.sweeps(pd.read_csv(REFERENCE / "main.csv")))
    for words in ("epsilon 1", "epsilon 5", "epsilon 10"):
        assert len(re.findall(f">{words}<", drawn)) == 2  # the advantage, and the share that is re-identified
