"""Published figures of attacks beside measured ones: the table of the docs, and the functionality of a stand-in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from splitleak.contract.split import SmashedOnly
from splitleak.plan import matrix
from splitleak.plan.case import Case
from splitleak.report import conformance
from splitleak.report.published_attacks import FIGURES, MATRICES, Figure
from splitleak.score import utility
from splitleak.score.scene import Scene

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "results" / "reference" / "conformance.csv"
TOYS = {"name": "toy_images", "n": 300, "task": "classes"}
Stage = Callable[..., Scene]


@pytest.mark.parametrize("name", MATRICES)
def test_every_figure_has_a_cell_that_measures_it(name: str) -> None:
    whole = matrix.read(name, data="real")
    there = {(cell.cut, Case.of(cell, whole.base).labels["attack"]) for cell in whole.cells}
    wanted = {(figure.cut, figure.attack) for figure in FIGURES if figure.matrix == name}
    assert wanted
    assert wanted <= there


def test_no_figure_stands_twice() -> None:
    rows = Counter((figure.setting, figure.variant, figure.metric) for figure in FIGURES)
    assert [row for row, n in rows.items() if n > 1] == []


def test_a_squared_error_between_minus_one_and_one_is_four_times_ours() -> None:
    figure = Figure("P", "S", "V", "conformance_fsha", 4, "a", "mse", 0.2, 4, 500)
    record: Any = {"curve": [{"step": 0, "error": 0.9}, {"step": 500, "error": 0.04}], "utility": 0.5,
                   "metrics": {"mse_floor": 0.07}}  # fmt: skip
    nothing: Any = None
    row = conformance.row(figure, [(nothing, record)], nothing)
    assert (row["measured"], row["ratio"], row["floor"]) == pytest.approx((0.16, 0.8, 0.28))
    assert conformance.markdown([row]).endswith("| mse | 0.2 | 0.16 | **0.80** |")
    record["curve"][1]["error"] = 0.046
    assert "**" not in conformance.markdown([conformance.row(figure, [(nothing, record)], nothing)])


@pytest.mark.slow
def test_the_functionality_of_the_client_itself_is_the_victims_accuracy(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = stage(attack="unsplit", dataset=TOYS, model="mlp", train={"epochs": 3}, evaluate={"targets": 20})
    monkeypatch.setattr(type(scene.attack), "_solve", lambda attack, view: (None, 0.0, client))
    attempt = conformance.Attempt(scene)
    client: torch.nn.Module = SmashedOnly(attempt.victim.split.bottom)
    assert conformance.functionality(scene) == pytest.approx(utility.on_test(attempt.victim)[1], abs=1e-6)
    client = torch.nn.Sequential(client, torch.nn.Threshold(1e9, 0.0))  # tells nothing: one class for all
    shares = scene.data.test.y.bincount() / len(scene.data.test)
    assert any(conformance.functionality(scene) == pytest.approx(float(share)) for share in shares)


@pytest.mark.slow
def test_a_pseudo_client_takes_over_the_task(stage: Stage) -> None:
    attack = {"name": "pcat", "per_class": 25, "warmup": 5, "tail": 0, "width": 16}
    scene = stage(attack=attack, dataset=TOYS, model="mlp", train={"epochs": 12}, evaluate={"targets": 20})
    shares = scene.data.test.y.bincount() / len(scene.data.test)
    assert conformance.functionality(scene) > float(shares.max()) + 0.1


def test_the_docs_show_the_committed_table() -> None:
    found = pd.read_csv(COMMITTED, keep_default_na=False).to_dict("records")
    assert {row["paper"] for row in found} <= {figure.paper for figure in FIGURES}
    assert conformance.markdown(found) in (ROOT / "docs" / "published.md").read_text()
