"""Published figures are shown beside the rows of those matrices that measure them, and beside no other row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from splitleak.plan import matrix
from splitleak.plan.case import Case
from splitleak.report.labels import settings_label
from splitleak.report.published_attacks import FIGURES, VICTIMS
from splitleak.report.reported import beside
from splitleak.report.victims import rows_of

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
SETTING: dict[str, Any] = dict(zip(("dataset", "model", "settings"), VICTIMS["conformance_mnist"], strict=True))
ROW = SETTING | {"cut": 1, "defense": "none", "attack": "inverse_network(size=P)", "psnr": 26.5, "ssim": 0.97}


@pytest.mark.parametrize("name", VICTIMS)
def test_the_matrix_prints_its_victim_as_the_figures_name_it(name: str) -> None:
    whole = matrix.read(name, data="real")
    victims = {(case.labels["dataset"], case.labels["model"], settings_label(case.cell.resolved()))
               for case in (Case.of(cell, whole.base) for cell in whole.cells)}  # fmt: skip
    assert victims == {VICTIMS[name]}


def test_a_row_has_the_figures_of_its_attack() -> None:
    found = {one["metric"]: (one["reported"], one["measured"]) for one in beside(ROW)}
    assert found == {"psnr": (40.72, 26.5), "ssim": (0.995, 0.97)}


@pytest.mark.parametrize("other", [{"defense": "noise"}, {"cut": 2}, {"settings": "epochs=1"}, {"dataset": "mnist"}])
def test_another_setting_has_none(other: dict[str, Any]) -> None:
    assert beside(ROW | other) == []


def test_a_figure_of_a_step_is_read_from_the_curve_in_the_unit_of_the_paper() -> None:
    (figure,) = [figure for figure in FIGURES if figure.step is not None]
    victim = dict(zip(("dataset", "model", "settings"), VICTIMS[figure.matrix], strict=True))
    row = victim | {"cut": figure.cut, "defense": "none", "attack": figure.attack, "mse": 9.0}
    records: list[Any] = [{"curve": [{"step": figure.step, "error": error}]} for error in (0.1, 0.3)]
    (found,) = beside(row, records)
    assert found["measured"] == pytest.approx(4 * 0.2)
    assert beside(row) == []  # a table has no curves


def test_the_published_ecg_networks_have_their_accuracy() -> None:
    rows = rows_of(pd.read_csv(REFERENCE / "ecg_published.csv", keep_default_na=False, na_values=[""]))
    found = [one["reported"] for row in rows for one in beside(row)]
    assert sorted(found) == [0.5059, 0.8365, 0.892, 0.9507, 0.9774, 0.9844]
