"""The control population: strangers among the targets, met by the same attack and scored apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from splitleak import record_form
from splitleak.contract.view import View
from splitleak.plan import matrix
from splitleak.score.attempt import Attempt
from splitleak.score.evaluate import evaluate
from splitleak.score.per_target import auc
from splitleak.score.scene import Scene

Stage = Callable[..., Scene]
FLAT: dict[str, Any] = {"model": {"name": "toy_chain", "identity": True}, "cut": 1, "train": {"epochs": 1}}
CONTROL = {"evaluate": {"targets": 40, "control": True}}


def test_targets_are_the_same_with_strangers_among_them(stage: Stage) -> None:
    with_control, without = stage(**FLAT, **CONTROL), stage(**FLAT, evaluate={"targets": 40})
    assert torch.equal(with_control.targets.id, without.targets.id)
    assert torch.equal(with_control.sent.id[with_control.own], without.targets.id)
    assert torch.equal(without.sent.id, without.targets.id)
    assert not len(without.strangers)


def test_strangers_trained_nobody_are_as_many_and_of_the_same_classes(stage: Stage) -> None:
    scene = stage(**FLAT, **CONTROL)
    assert not torch.isin(scene.strangers.id, scene.data.private.id).any()
    assert not torch.isin(scene.strangers.id, scene.aux.id).any()
    assert torch.equal(scene.sent.id[scene.theirs], scene.strangers.id)
    assert torch.equal(scene.strangers.y.bincount(), scene.targets.y.bincount())


def test_the_place_of_a_message_does_not_tell_whose_it_is(stage: Stage) -> None:
    scenes = [stage(**FLAT, **CONTROL, seed=seed) for seed in range(3)]
    for scene in scenes:
        member = torch.isin(torch.arange(len(scene.sent)), scene.own).float()
        assert 0.25 < auc(torch.arange(float(len(member))), member) < 0.75
    assert len({tuple(scene.own.tolist()) for scene in scenes}) == 3


def test_what_the_channel_gives_away_it_gives_away_of_strangers_too(stage: Stage) -> None:
    fields, guess = evaluate(stage(**FLAT, **CONTROL))
    assert len(guess) == 40
    assert fields["metrics"]["advantage"] > 0.999
    assert fields["control"] == {"n": 40, "advantage": pytest.approx(1, abs=1e-3), "reid_top1": 1.0}


def test_what_is_known_of_members_alone_is_not_found_of_strangers(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = stage(**FLAT, **CONTROL)
    remembered = scene.aux.x.mean(0).expand(len(scene.sent), *scene.sent.x.shape[1:]).clone()
    remembered[scene.own] = scene.targets.x

    def recalls(attack: Any, view: View) -> Tensor:
        return remembered

    monkeypatch.setattr(type(scene.attack), "run", recalls)
    fields, _ = evaluate(scene)
    assert fields["metrics"]["advantage"] > 0.999
    assert fields["control"]["advantage"] < 0.05


def test_an_attack_is_shown_everything_that_crosses_for_strangers_as_for_targets(stage: Stage) -> None:
    scene = stage(**FLAT, **CONTROL, threat="honest_server")
    view = Attempt(scene).view
    assert view.targets == len(view.smashed) == len(view.gradient) == len(view.labels) == 80
    torch.testing.assert_close(view.smashed, scene.sent.x)
    assert torch.equal(view.labels, scene.sent.y)


def test_a_hint_names_a_target_by_its_place_among_all(stage: Stage) -> None:
    scene = stage(**FLAT, **CONTROL, threat="honest_server")
    places, labels = Attempt(scene).view.hints
    assert torch.isin(places, scene.own).all()
    assert torch.equal(scene.sent.y[places], labels)


def test_the_null_run_is_scored_for_the_targets(stage: Stage) -> None:
    assert evaluate(stage(**FLAT, **CONTROL))[0]["null"]["metrics"]["advantage"] <= 0.02


HEAD: dict[str, Any] = {"dataset": ["ecg_synthetic"], "model": ["ecg_cnn"]}


def controls(**given: Any) -> dict[str, bool]:
    found = matrix.read({"matrix": HEAD | given.pop("axes", {}), **given}).cells
    return {f"{cell.goal} {cell.protocol}": cell.evaluate.control for cell in found}


def test_a_suite_has_a_control_population_and_can_be_told_not_to() -> None:
    suite = {"attack": [{"name": "standard", "goal": "inputs"}]}
    assert controls(axes=suite) == {"inputs vanilla": True}
    assert controls(axes=suite, evaluate={"control": False}) == {"inputs vanilla": False}
    assert controls(axes={"attack": ["rmle"]}) == {"inputs vanilla": False}
    assert controls(axes={"attack": ["rmle"]}, evaluate={"control": True}) == {"inputs vanilla": True}


def test_where_there_can_be_no_control_the_setting_changes_no_key() -> None:
    axes = {"attack": ["norm", "membership", "gradient_inversion", "inverse_labels"], "protocol": ["u_shape", "fedavg"]}

    def keys(control: bool) -> set[str]:
        whole = matrix.read({"matrix": HEAD | axes, "evaluate": {"control": control}})
        return {cell.key for cell in whole.cells if cell.goal != "inputs" or cell.protocol == "fedavg"}

    assert keys(True) == keys(False) != set()


def test_a_record_with_half_a_control_is_none(run: Any) -> None:
    (record,) = run(**FLAT, **CONTROL)
    record_form.check(dict(record))
    broken = dict(record) | {"control": {"n": 40}}
    with pytest.raises(ValueError, match="control"):
        record_form.check(broken)


def test_the_table_has_a_column_for_it(lab: Any, main: Any) -> None:
    text = (lab.folder / lab.matrix('attack = ["blind", "./toy_peek.py"]')).read_text()
    lab.write("m.toml", f"{text}control = true\n")
    assert main("run", "m.toml", "--out", "out").status == 0
    board = pd.read_csv(lab.folder / "out" / "leaderboard.csv").set_index("attack")
    records = lab.records()
    for name in ("blind", "toy_peek"):
        assert float(board.loc[name, "control_advantage"]) == pytest.approx(
            records[name]["control"]["advantage"], rel=1e-4
        )
