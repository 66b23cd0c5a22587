"""The inverse network for labels, where the answer is known: a client that changes nothing, a channel of noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from splitleak.attacks.inverse_labels import InverseLabels
from splitleak.attacks.inverse_network import InverseNetwork
from splitleak.contract import Goal, Grant
from splitleak.plan import matrix, plugins
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

Stage = Callable[..., Scene]
OPEN = {"name": "toy_chain", "identity": True}  # a client that changes nothing, cut behind it
MASKS = {
    "dataset": {"name": "toy_images", "n": 192}, "model": OPEN, "cut": 1, "train": {"epochs": 1},
    "protocol": "u_shape",  # under `vanilla` the masks cross the wire and need no attack
}  # fmt: skip
ATTACK = {"name": "inverse_labels", "steps": 200, "width": 16}


@pytest.mark.slow
def test_a_client_that_changes_nothing_leaks_the_masks(stage: Stage) -> None:
    many = MASKS | {"dataset": {"name": "toy_images", "n": 600}}
    scene = stage(attack=ATTACK | {"steps": 300}, **many, evaluate={"targets": 50})
    guess = Attempt(scene).run()[0]
    assert guess.shape == (50, 1, 8, 8)
    assert scene.question.score(guess)["advantage"] > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["none", "toy_static"])
def test_noise_leaks_no_mask(stage: Stage, defense: str) -> None:
    scene = stage(attack=ATTACK | {"steps": 60}, **MASKS, defense=defense, evaluate={"targets": 50})
    guess = Attempt(scene, null=defense == "none").run()[0]
    advantage = scene.question.score(guess)["advantage"]
    assert scene.question.null_leaks(guess, advantage, 0)[0] is False
    assert advantage <= 0.02


@pytest.mark.slow
@pytest.mark.parametrize("dataset", [{"name": "toy_flat", "task": "value"}, "toy_flat"], ids=["values", "classes"])
def test_other_labels_are_guessed_in_their_own_shape(stage: Stage, dataset: Any) -> None:
    scene = stage(attack=ATTACK, dataset=dataset, model=OPEN, cut=1, protocol="u_shape", evaluate={"targets": 40})
    guess = Attempt(scene).run()[0]
    assert guess.shape == ((40, 3) if scene.data.task.kind == "classes" else scene.targets.y.shape)
    assert scene.question.score(guess)["advantage"] > 0.1


@pytest.mark.slow
def test_the_server_decodes_its_features_too_and_its_own_part_is_not_trained(stage: Stage) -> None:
    scene = stage(attack=ATTACK | {"steps": 20}, dataset="toy_images", model="toy_skips", evaluate={"targets": 20})
    view = Attempt(scene).view
    both = InverseLabels(width=8)._decoder(view, (1, 8, 8))
    before = {name: t.clone() for name, t in view.top.state_dict().items()}
    both.train()(view.smashed)
    assert all(torch.equal(t, before[name]) for name, t in both.top[0].state_dict().items())  # batch norms too
    assert not both.top[0].training
    assert not any("top" in name for name, _ in both.named_parameters())
    assert Attempt(scene).run()[0].shape == (20, 1, 8, 8)


def test_it_needs_labelled_auxiliary_records_and_has_the_parameters_of_the_inverse_network() -> None:
    assert InverseLabels.goal is Goal.LABELS
    assert InverseNetwork.goal is Goal.INPUTS
    assert InverseLabels.needs == InverseNetwork.needs | Grant.AUX_LABELS
    assert InverseLabels().parameters() == InverseNetwork().parameters()
    assert InverseLabels(size="L").parameters() == InverseNetwork(size="L").parameters()


@pytest.mark.parametrize("more", [{}, {"size": "S"}], ids=["default", "size"])
def test_earlier_records_know_it_as_a_goal_of_the_inverse_network(more: dict[str, Any]) -> None:
    attack = plugins.make("attack", ATTACK | more, Path())
    numbers = {"steps": 200, "batch": 32, "lr": 3e-3, "width": 16, "dense": 16384, "checks": 20}
    assert {"name": attack.name} | attack.parameters() | attack.formerly == (
        {"name": "inverse_network", "goal": "labels"} | numbers | more
    )
    records = plugins.make("attack", {"name": "inverse_network", "width": 16, "steps": 200} | more, Path())
    assert {"name": records.name} | records.parameters() | records.formerly == (
        {"name": "inverse_network"} | numbers | more
    )


def test_an_earlier_specification_makes_the_attack_of_today() -> None:
    made = plugins.make("attack", {"name": "inverse_network", "goal": "labels", "width": 9}, Path())
    assert made == InverseLabels(width=9)
    assert made.spec("inverse_labels") == made.spec("inverse_network")


def test_labels_that_cross_the_wire_are_no_secret() -> None:
    whole = {"dataset": ["ecg_synthetic"], "model": ["ecg_cnn"], "attack": [ATTACK], "threat": ["query_server"]}
    (cell,) = [c for c in matrix.read({"matrix": whole}).cells if c.goal == "labels" and c.attack["name"] != "blind"]
    assert "already holds the labels" in str(cell.skip)
