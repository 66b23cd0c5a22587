"""URVFL: what it leaks where that is known, that its gradients depend on the labels, and the honest part of a reply."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from splitleak.attacks.fsha import FSHA
from splitleak.attacks.splitspy import SplitSpy
from splitleak.attacks.urvfl import URVFL, Discriminator, RowsByClass
from splitleak.contract import Defense, Grant, Step, View
from splitleak.contract.threats import DATA, objection
from splitleak.defenses.none import NoDefense
from splitleak.pieces import Pilot, decode, mixed
from splitleak.plan.seeds import Stream
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

Stage = Callable[..., Scene]
SIGNALS = {"dataset": {"name": "toy_signals", "n": 256}, "model": "ecg_cnn", "evaluate": {"targets": 60}}
LONG = {"name": "urvfl", "iterations": 800, "pilot": 400, "width": 16, "curve": 1000}
QUICK = {"name": "urvfl", "iterations": 40, "pilot": 20, "width": 16, "curve": 1000}
FLAT = {"dataset": {"name": "toy_flat", "n": 304}, "model": "toy_chain", "cut": 1, "train": {"epochs": 1}}


def tried(scene: Scene, null: bool = False) -> tuple[Attempt, float]:
    """An attempt that has run, and its advantage; with a stream of its own, as short hijacks fail on some seeds."""
    attempt = Attempt(scene, null)
    attempt.own = Stream(0)
    return attempt, float(scene.question.score(attempt.run()[0])["advantage"])


@pytest.mark.slow
def test_a_hijacked_client_leaks_what_noise_does_not(stage: Stage) -> None:
    scene = stage(attack=LONG, **SIGNALS)
    assert tried(scene)[1] > 0.5
    assert tried(scene, null=True)[1] <= 0.02


def test_a_hijack_of_a_client_of_noise_leaks_nothing(stage: Stage) -> None:
    assert tried(stage(attack=QUICK, **FLAT, defense="toy_static", evaluate={"targets": 100}))[1] <= 0.02


def without_classes(patch: pytest.MonkeyPatch) -> None:
    """All records have the same class for the attacker: two outputs are in use, and it is a hijack like any other."""
    learn, pull, draw = Discriminator.learn, Discriminator.pull, RowsByClass.draw
    patch.setattr(Discriminator, "learn", lambda judge, code, z, y, rate: learn(judge, code, z, 0 * y, rate))
    patch.setattr(Discriminator, "pull", lambda judge, z, y: pull(judge, z, 0 * y))
    patch.setattr(RowsByClass, "draw", lambda rows, y: draw(rows, y[torch.randperm(len(y))]))


@pytest.mark.slow
def test_the_scrutinizer_sees_a_hijack_only_if_it_ignores_the_classes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = {"name": "scrutinizer", "warmup": 10}
    scene = stage(attack=LONG | {"iterations": 150, "pilot": 100}, **SIGNALS, defense=watch, train={"epochs": 20})
    for aware in (True, False):
        attempt, _ = tried(scene)
        assert attempt.training is not None
        assert (attempt.training.detected_at == -1) is aware
        without_classes(monkeypatch)


def test_a_record_is_pulled_towards_the_code_of_its_own_class() -> None:
    """Codes of two classes lie at two places; from between them each record is sent to the one of its class."""
    place = torch.tensor([[4.0, 0.0], [0.0, 4.0]])
    view = cast(View, SimpleNamespace(cut_shape=(2,), classes=2))
    judge = Discriminator(URVFL(width=16), view, torch.device("cpu"))
    for _ in range(200):
        y = torch.randint(2, (64,))
        judge.learn(place[y] + 0.1 * torch.randn(64, 2), 2 + 0.1 * torch.randn(64, 2), y, 1.0)
    y = torch.tensor([0, 1] * 8)
    down = -judge.pull(2 + 0.1 * torch.randn(16, 2), y)  # (16, 2)
    assert ((down * (place[y] - 2)).sum(1) > 0).all()


def test_codes_are_drawn_from_the_class_and_from_any_where_it_has_none() -> None:
    labels = torch.tensor([3, 0, 3, 1, 0, 3])
    rows = RowsByClass(labels, 5)
    y = torch.tensor([0, 1, 3]).repeat(200)
    drawn = rows.draw(y)
    assert torch.equal(labels[drawn], y)
    assert set(drawn.tolist()) == set(range(6))
    assert set(rows.draw(torch.full((300,), 4)).tolist()) == set(range(6))
    assert set(rows.draw(torch.full((300,), 2)).tolist()) == set(range(6))


# Adaptive -----------------------------------------------------------------------------------------


class Mirror(Defense):
    """The message with its sign changed."""

    def smash(self, z: Tensor) -> Tensor:
        return -z


@pytest.mark.slow
def test_the_inverse_is_that_of_what_the_defence_lets_through(stage: Stage) -> None:
    view = Attempt(stage(attack=QUICK, **SIGNALS)).view
    aux, errors = view.aux, {}
    for defense in (Mirror(), NoDefense()):
        torch.manual_seed(0)
        code, inverse = Pilot(200, 0.1, 16, True).train(view, aux, defense)
        errors[type(defense)] = (decode(inverse, -code) - aux).square().mean()
    assert 4 * errors[Mirror] < errors[NoDefense]


def test_the_discriminator_sees_codes_through_the_defence(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[Tensor] = []
    seen: list[Tensor] = []
    monkeypatch.setattr(NoDefense, "smash", lambda defense, z: (passed.append(z + 1), passed[-1])[1])
    learn = Discriminator.learn
    monkeypatch.setattr(
        Discriminator, "learn", lambda judge, code, *more: (seen.append(code), learn(judge, code, *more))[1]
    )
    tried(stage(attack=QUICK | {"iterations": 3}, **FLAT, evaluate={"targets": 20}))
    assert len(seen) == 3
    assert all(any(code is one for one in passed) for code in seen)


# The honest part ----------------------------------------------------------------------------------


def test_a_mixture_is_of_parts_of_equal_norm() -> None:
    honest, hijack = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.1]])
    step = cast(Step, SimpleNamespace(gradient=honest))
    assert torch.allclose(mixed(step, hijack, 0.25), torch.tensor([[0.75, 1.0 + 0.75 * 5]]))
    assert torch.equal(mixed(step, 0 * hijack, 0.25), 0.25 * honest)  # a hijack of zero is no division by zero
    assert mixed(cast(Step, None), hijack, 0.0) is hijack


@pytest.mark.parametrize("name", ["fsha", "splitspy", "urvfl"])
def test_a_reply_has_its_share_of_the_honest_gradient(stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    alike: list[float] = []

    def reply(step: Step, g: Tensor) -> None:
        alike.append(float(torch.cosine_similarity(step.gradient.flatten(), g.flatten(), dim=0)))

    monkeypatch.setattr(Step, "reply", reply)
    tried(stage(attack=QUICK | {"name": name, "task": 0.9}, **FLAT, evaluate={"targets": 20}))
    assert len(alike) > 20
    assert min(alike) > 0.99


@pytest.mark.parametrize("attack", [FSHA, SplitSpy, URVFL])
def test_only_a_mixture_needs_the_honest_gradient(attack: Any) -> None:
    assert not attack().needs & Grant.GRADIENT
    assert attack(task=0.5).needs == attack().needs | Grant.GRADIENT


def test_it_is_for_a_server_that_is_sent_the_labels() -> None:
    assert objection("malicious_server", "vanilla", URVFL.goal, URVFL().needs, DATA) is None
    assert "LABELS" in str(objection("malicious_server", "u_shape", URVFL.goal, URVFL().needs, DATA))
