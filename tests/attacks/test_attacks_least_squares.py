"""Least squares: exact on a linear client, nothing from noise, and a penalty that suits the noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from splitleak.attacks.least_squares import LeastSquares, chosen_penalty
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

from .test_attacks_images import IMAGES
from .test_attacks_inputs import FLAT, SIGNALS

Stage = Callable[..., Scene]
ATTACK = {"name": "least_squares"}


def advantage(scene: Scene, null: bool = False) -> float:
    return float(scene.question.score(Attempt(scene, null).run()[0])["advantage"])


@pytest.mark.parametrize("victim", [FLAT, IMAGES], ids=["flat", "images"])
def test_a_linear_client_leaks_everything(stage: Stage, victim: dict[str, Any]) -> None:
    assert advantage(stage(attack=ATTACK, **victim, evaluate={"targets": 50})) > 0.99


@pytest.mark.parametrize("defense", ["none", "toy_static"])
def test_noise_tells_nothing(stage: Stage, defense: str) -> None:
    scene = stage(attack=ATTACK, **SIGNALS, defense=defense, evaluate={"targets": 100})
    assert advantage(scene, null=defense == "none") <= 0.02


def test_the_penalty_suits_the_noise() -> None:
    """Of a linear map behind noise the guess is nearly as good as with the penalty that is best in hindsight."""
    x = torch.randn(400, 20).double()
    for noise in (0.01, 1.0, 5.0):
        z = torch.cat([x, x @ torch.randn(20, 40).double()], 1)
        z = z + noise * torch.randn_like(z)
        known, new, centred = z[:200] - z[:200].mean(0), z[200:] - z[:200].mean(0), x[:200] - x[:200].mean(0)
        values, u = torch.linalg.eigh(known @ known.T)
        part = u.T @ centred

        def error(
            penalty: float, u: Any = u, part: Any = part, values: Any = values, known: Any = known, new: Any = new
        ) -> float:
            guess = new @ (known.T @ (u @ (part / (values + penalty)[:, None]))) + x[:200].mean(0)
            return float((guess - x[200:]).square().mean())

        chosen = float(chosen_penalty(values.clamp(min=0), part.square().sum(1)))
        assert error(chosen) < 1.1 * min(error(float(10.0**k)) for k in range(-6, 6))


def test_records_beyond_the_most_are_left_out(stage: Stage) -> None:
    scene = stage(attack=ATTACK, **FLAT, evaluate={"targets": 20})
    scene_few = stage(attack=ATTACK | {"most": 2}, **FLAT, evaluate={"targets": 20})
    assert LeastSquares(most=2).most == 2
    assert advantage(scene_few) < advantage(scene)
