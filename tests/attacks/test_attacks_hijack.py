"""FSHA and SplitSpy: what a hijacked client leaks, what noise leaks, and how earlier records name the two attacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from splitleak.attacks.fsha import FSHA
from splitleak.attacks.splitspy import FalseLabelDetector, SplitSpy
from splitleak.contract import Step
from splitleak.plan import plugins
from splitleak.plan.seeds import Stream
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

Stage = Callable[..., Scene]
FLAT = {"dataset": {"name": "toy_flat", "n": 304}, "model": "toy_chain", "cut": 1, "train": {"epochs": 1}}
QUICK = {"iterations": 40, "pilot": 20, "width": 16, "curve": 1000}
NAMES = ["fsha", "splitspy"]


def guess(scene: Scene, null: bool = False) -> torch.Tensor:
    """The guess, with the same seed for both attacks."""
    attempt = Attempt(scene, null)
    attempt.own = Stream(0)
    return attempt.run()[0]


@pytest.mark.slow
def test_a_hijacked_client_leaks_what_noise_does_not(stage: Stage) -> None:
    """By `fsha`. `splitspy` is the same to the bit where it spares no batch, see below.

    Where it does, so short a hijack ends at -10 to .8 as chance and the processor will, and shows nothing.
    """
    attack = {"name": "fsha", "iterations": 800, "pilot": 400, "width": 16, "curve": 1000}
    scene = stage(attack=attack, dataset={"name": "toy_signals", "n": 256}, model="ecg_cnn", evaluate={"targets": 60})
    assert scene.question.score(guess(scene))["advantage"] > 0.5
    assert scene.question.score(guess(scene, null=True))["advantage"] <= 0.02


@pytest.mark.parametrize("name", NAMES)
def test_a_hijack_of_a_client_of_noise_leaks_nothing(stage: Stage, name: str) -> None:
    scene = stage(attack=QUICK | {"name": name}, **FLAT, defense="toy_static", evaluate={"targets": 100})
    assert scene.question.score(guess(scene))["advantage"] <= 0.02


def test_splitspy_is_fsha_but_for_the_batches_that_it_spares(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    replies: list[torch.Tensor] = []
    reply = Step.reply
    monkeypatch.setattr(Step, "reply", lambda step, g: (replies.append(g), reply(step, g))[1])
    hijack, spy = (stage(attack=QUICK | {"name": name}, **FLAT, evaluate={"targets": 20}) for name in NAMES)
    plain = guess(hijack)
    monkeypatch.setattr(FalseLabelDetector, "detects", lambda detector, step: False)
    assert torch.equal(guess(spy), plain)
    assert len(replies) == 2 * 40
    monkeypatch.setattr(FalseLabelDetector, "detects", lambda detector, step: True)
    assert not torch.equal(guess(spy), plain)
    assert len(replies) == 2 * 40  # all batches were spared: no further reply


@pytest.mark.parametrize("more", [{}, {"copy": False}], ids=["default", "copy"])
def test_earlier_records_know_splitspy_as_a_parameter_of_fsha(more: dict[str, Any]) -> None:
    numbers = {
        "iterations": 1500, "pilot": 1500, "noise": 0.1, "lr": 1e-3, "penalty": 10.0, "calm": 0.6, "width": 64,
        "curve": 500, "start": 200,
    }  # fmt: skip
    for attack, spy in ((FSHA, False), (SplitSpy, True)):
        made = attack(iterations=1500, start=200, **more)
        earlier = {"name": made.name} | made.parameters() | made.formerly
        assert earlier == {"name": "fsha"} | numbers | {"spy": spy} | more


def test_an_earlier_specification_makes_the_attack_of_today() -> None:
    assert plugins.make("attack", {"name": "fsha", "spy": True, "curve": 7}, Path()) == SplitSpy(curve=7)
    assert plugins.make("attack", {"name": "fsha", "spy": False}, Path()) == FSHA()
    assert plugins.label("attack", {"name": "fsha", "spy": True, "curve": 7}, Path()) == "splitspy(curve=7)"
