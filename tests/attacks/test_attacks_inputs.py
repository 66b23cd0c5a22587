"""Attacks on the inputs from what was released, where the answer is known: a client that hides nothing, and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from splitleak.attacks import rmle
from splitleak.contract import BadInput, Defense
from splitleak.pieces import most_plausible, squared_variation
from splitleak.plan import plugins
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

Stage = Callable[..., Scene]
OPEN = {"name": "toy_chain", "identity": True}  # a client that changes nothing, cut behind it
FLAT = {"dataset": {"name": "toy_flat", "n": 304}, "model": OPEN, "cut": 1, "train": {"epochs": 1}}
SIGNALS = {"dataset": {"name": "toy_signals", "n": 256}, "model": "ecg_cnn", "train": {"epochs": 2}}
ATTACKS: list[dict[str, Any]] = [
    {"name": "oracle_decoder", "steps": 200, "width": 8, "descent": 60},
    {"name": "rmle"},
    {"name": "query_free", "shadow": 100, "search": 60},
    {"name": "query_free", "shadow": 100, "invert": "decoder", "learn": 60},
    {"name": "query_free", "shadow": 50, "search": 60, "start": "mean", "restarts": 2},
    {"name": "unsplit", "rounds": 6},
    {"name": "unsplit", "rounds": 6, "start": "mean", "restarts": 2},
]
KNOWING = ATTACKS[:2]  # what the client's weights are: they leave nothing to guess


def advantage(scene: Scene, null: bool = False) -> float:
    return float(scene.question.score(Attempt(scene, null).run()[0])["advantage"])


def names(attacks: list[dict[str, Any]]) -> list[str]:
    return [" ".join(str(value) for value in attack.values() if isinstance(value, str)) for attack in attacks]


@pytest.mark.parametrize("attack", KNOWING, ids=names(KNOWING))
def test_a_client_that_changes_nothing_leaks_everything(stage: Stage, attack: dict[str, Any]) -> None:
    assert advantage(stage(attack=attack, **FLAT, evaluate={"targets": 50})) > 0.999


def test_a_search_with_the_identity_for_a_clone_is_a_search_for_the_record(stage: Stage) -> None:
    attack = {"name": "unsplit", "l2": 0.0, "tv": 0.0}  # the client has no weights: its architecture is all of it
    assert advantage(stage(attack=attack, **FLAT, evaluate={"targets": 100})) > 0.99


def test_a_shadow_that_can_only_be_the_client_is_inverted(stage: Stage) -> None:
    attack = {"name": "query_free", "shadow": 10, "invert": "search", "tv": 0.0}
    assert advantage(stage(attack=attack, **FLAT, evaluate={"targets": 100})) > 0.99
    attack |= {"invert": "decoder", "learn": 300}
    assert advantage(stage(attack=attack, **FLAT, evaluate={"targets": 100})) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("attack", KNOWING, ids=names(KNOWING))
def test_convolutions_hide_nothing_from_who_knows_them(stage: Stage, attack: dict[str, Any]) -> None:
    assert advantage(stage(attack=attack, **SIGNALS, evaluate={"targets": 100})) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["none", "toy_static"])
@pytest.mark.parametrize("attack", ATTACKS, ids=names(ATTACKS))
def test_noise_tells_nothing(stage: Stage, attack: dict[str, Any], defense: str) -> None:
    scene = stage(attack=attack, **SIGNALS, defense=defense, evaluate={"targets": 100})
    assert advantage(scene, null=defense == "none") <= 0.02


@pytest.mark.slow
def test_the_oracle_is_not_beaten_by_what_knows_less(stage: Stage) -> None:
    for defense in ("none", {"name": "laplace_range", "epsilon": 5.0}):
        weak, strong = (
            advantage(stage(attack=attack, **SIGNALS, defense=defense, evaluate={"targets": 100}))
            for attack in ({"name": name, "steps": 200, "width": 16} for name in ("inverse_network", "oracle_decoder"))
        )
        assert strong > weak - 0.005


def test_the_oracle_needs_records_to_learn_from(stage: Stage) -> None:
    scene = stage(attack="oracle_decoder", threat="oracle", aux="none", model=OPEN, cut=1)  # all private are targets
    with pytest.raises(BadInput, match="no private records beside the targets"):
        Attempt(scene).run()


def test_the_mean_record_is_a_start_for_who_has_records(stage: Stage) -> None:
    attack = {"name": "rmle", "start": "mean", "steps": 0}
    scene = stage(attack=attack, **FLAT, evaluate={"targets": 20})
    guess = Attempt(scene).run()[0]
    torch.testing.assert_close(guess.float(), scene.aux.x.mean(0).expand(20, -1))
    with pytest.raises(BadInput, match="gives none"):
        Attempt(stage(attack=attack, aux="none", **FLAT, evaluate={"targets": 20})).run()


def test_without_auxiliary_records_two_of_them_still_run(stage: Stage) -> None:
    for attack in ({"name": "rmle", "steps": 5}, {"name": "unsplit", "rounds": 1}):
        scene = stage(attack=attack, aux="none", **FLAT, evaluate={"targets": 20})
        assert Attempt(scene).run()[0].shape == (20, 6)


@pytest.mark.parametrize("dataset", ["toy_images", {"name": "toy_flat", "task": "value"}], ids=["masks", "values"])
@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
@pytest.mark.parametrize("name", ["oracle_decoder", "rmle", "query_free", "unsplit"])
def test_other_tasks_and_a_u_shape_are_attacked_alike(stage: Stage, dataset: Any, protocol: str, name: str) -> None:
    large = {f.name for f in fields(plugins.find("attack", name, Path())) if type(f.default) is int and f.default > 9}
    attack = {"name": name} | dict.fromkeys(large, 8)
    scene = stage(attack=attack, dataset=dataset, protocol=protocol, cut=2, evaluate={"targets": 20})
    assert Attempt(scene).run()[0].shape == scene.targets.x.shape


@dataclass(frozen=True)
class Rounds(Defense):
    """Quantises, and lets the gradient pass."""

    def smash(self, z: Tensor) -> Tensor:
        return z + (z.round() - z).detach()


@dataclass(frozen=True)
class Shakes(Defense):
    """Adds noise of variance 4."""

    def smash(self, z: Tensor) -> Tensor:
        return z + 2 * torch.randn_like(z)


@dataclass(frozen=True)
class Halves(Defense):
    """Shrinks, then adds a little noise."""

    def smash(self, z: Tensor) -> Tensor:
        return 0.5 * z + 0.1 * torch.randn_like(z)


def test_descent_goes_through_what_transforms_and_around_what_only_adds_noise() -> None:
    z, x = torch.randn(50, 8), torch.randn(5, 8, requires_grad=True)
    f, noise = rmle.channel(nn.Identity(), Rounds(), z)
    assert torch.equal(f(x), x.round())
    assert noise.max() < 1e-5
    f, noise = rmle.channel(nn.Identity(), Shakes(), z)
    assert torch.equal(f(x), x)
    torch.testing.assert_close(noise, torch.full((8,), 4.0), rtol=0.15, atol=0)
    f, noise = rmle.channel(nn.Identity(), Halves(), z)
    torch.testing.assert_close(f(x), 0.5 * x, rtol=0, atol=0.6)
    assert not torch.equal(f(x), f(x))


def test_squared_variation_is_over_positions_and_not_over_channels() -> None:
    image = torch.zeros(2, 3, 4, 4)
    image[:, :, :, 2:] = 1.0
    assert squared_variation(image) == 2 * 3 * 4
    assert squared_variation(torch.arange(6.0).view(1, 1, 6)) == 5
    assert squared_variation(torch.rand(2, 6)) == 0


def test_of_solutions_that_fit_alike_the_one_that_looks_like_records_counts() -> None:
    aux = torch.rand(200, 6)
    plausible, mirrored = torch.rand(50, 6), -torch.rand(50, 6)
    assert most_plausible([(mirrored, 1.0), (plausible, 1.9)], aux) is plausible
    assert most_plausible([(mirrored, 1.0), (plausible, 2.1)], aux) is mirrored
    assert most_plausible([(plausible, 3.0)], aux) is plausible


def test_records_of_the_oracle_hold_no_target_and_are_not_learned_from_twice(stage: Stage) -> None:
    attack = plugins.make("attack", {"name": "oracle_decoder"}, None)  # type: ignore[arg-type]
    scene = stage(attack="oracle_decoder", **FLAT, evaluate={"targets": 100})
    own, held = attack._records(Attempt(scene).view)
    assert not any((scene.targets.x == x).all(1).any() for x in torch.cat([own, held]))
    assert not any((own == x).all(1).any() for x in held)
    assert len(own) + len(held) == 200 + len(scene.aux)
