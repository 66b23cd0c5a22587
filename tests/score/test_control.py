"""The control is at its floor: both are the best guess without the channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from splitleak.contract import Goal, Grant, Records, Task
from splitleak.pieces import blind_guess
from splitleak.pieces.matching import matched_records
from splitleak.score.floor import floor_of
from splitleak.score.scene import Scene

Run = Callable[..., list[dict[str, Any]]]


def control(run: Run, goal: str, *others: str, **given: Any) -> dict[str, Any]:
    """The record of `blind`; beside others it has their threat."""
    attacks = [{"name": name, "goal": goal} for name in ("blind", *others)]
    record = next(r for r in run(attack=attacks, **given) if r["labels"]["attack"].startswith("blind"))
    assert record["status"] == "done", record.get("traceback", record["why"])
    return record


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 4, 8])
@pytest.mark.parametrize("goal", ["inputs", "labels"])
def test_the_control_of_a_federation_is_at_its_floor(run: Run, goal: str, steps: int) -> None:
    fedavg = {"name": "fedavg", "rounds": 2, "local_steps": steps}
    record = control(run, goal, protocol=fedavg, clients=2, evaluate={"targets": 40})
    assert record["floor"] == ("centroids" if goal == "inputs" else "class mix")
    slack = 0.02 + record["bootstrap_ci95"]
    assert -slack < record["metrics"]["advantage"] < 1e-6  # the floor chooses with hindsight


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classes", "value"])
def test_a_label_thief_who_has_the_records_needs_no_channel_to_guess_by_the_nearest(run: Run, task: str) -> None:
    flat = {"name": "toy_flat", "width": 4, "task": task}
    record = control(run, "labels", "toy_read_off", threat="label_thief", protocol="vanilla", dataset=flat)
    assert record["cell"]["threat"] == "label_thief"
    assert record["floor"] == "label of the nearest"
    assert record["metrics"]["advantage"] == pytest.approx(0, abs=1e-6)
    assert record["read"] == ["aux", "aux_labels", "inputs"]


@pytest.mark.slow
def test_a_thief_without_labelled_records_guesses_any_class_and_that_is_no_gain(run: Run) -> None:
    aux = {"name": "same", "labels": False}
    record = control(run, "labels", "toy_read_off", threat="label_thief", protocol="vanilla", aux=aux)
    assert record["cell"]["threat"] == "label_thief"
    assert record["metrics"]["advantage"] <= 1e-6
    assert record["metrics"]["floor"] == pytest.approx(1 / 3)  # the auxiliary majority class is rarer in the targets


def test_the_majority_class_is_guessed_where_chance_did_not_make_it() -> None:
    assert blind_guess.majority(torch.tensor([0] * 70 + [1] * 30), 2).tolist() == [1, 0]
    assert blind_guess.majority(torch.tensor([0] * 52 + [1] * 48), 2).tolist() == [0, 0]


def test_the_class_mix_has_every_class_as_often_as_the_auxiliary_records() -> None:
    y = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    mix = blind_guess.class_mix(y, torch.tensor([0] * 10 + [1] * 3), 3)
    assert mix[:10].sum(0).tolist() == [6, 3, 1]
    assert mix[10:].sum(0).tolist() == [2, 1, 0]
    assert mix.sum(1).tolist() == [1] * 13


def test_noise_has_the_mean_and_the_covariance_of_the_records() -> None:
    torch.manual_seed(0)
    x = torch.randn(400, 2) @ torch.tensor([[3.0, 1.0], [0.0, 0.5]]) + 2
    found = blind_guess.noise_like(x, 20000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(found.mean(0), x.double().mean(0), rtol=0.0, atol=0.1)
    torch.testing.assert_close(found.T.cov(), x.double().T.cov(), rtol=0.1, atol=0.1)


def test_the_floor_of_a_set_is_the_best_of_all_its_guesses() -> None:
    torch.manual_seed(0)
    truth, sets = torch.randn(60, 6), torch.arange(60) // 20
    for aux in (torch.randn(200, 6), torch.randn(3, 6)[torch.arange(200) % 3]):  # alike, and of three people only
        parts = [Records(t, torch.zeros(len(t), dtype=torch.long), torch.arange(len(t))) for t in (aux, truth)]
        floor = floor_of(Goal.INPUTS, Task("classes", 2), *parts, Grant(0), sets)
        matched = [matched_records(guess, truth.double(), sets) for _, guess in blind_guess.for_sets(aux, sets)]
        assert float((floor.guess - truth).square().mean()) == pytest.approx(
            min(float((guess - truth).square().mean()) for guess in matched)
        )


def test_centroids_lie_between_the_mean_and_the_records() -> None:
    x = torch.rand(50, 3, dtype=torch.double)
    torch.testing.assert_close(blind_guess.centroids(x, 1)[0], x.mean(0))
    assert blind_guess.centroids(x, 60)[:50].equal(x)
    blobs = torch.cat([torch.zeros(20, 2), torch.ones(5, 2)]).double()
    assert blind_guess.centroids(blobs, 2).tolist() == [[0, 0], [1, 1]]


def test_no_class_is_favoured_by_a_floor_whose_majority_is_another_in_the_targets(
    stage: Callable[..., Scene],
) -> None:
    data = stage().data
    targets = data.private.take((data.private.y != int(data.aux.y.bincount().argmax())).nonzero().flatten())
    floor = floor_of(Goal.LABELS, Task("classes", 3), data.aux, targets, Grant(0))
    assert floor.kind == "any class"
