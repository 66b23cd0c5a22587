"""FORA, where it is known what there is to find: it needs no label and no query, and noise tells it nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from splitleak.attacks.fora import Fora, Substitute
from splitleak.contract import Grant
from splitleak.contract.threats import granted, objection
from splitleak.defenses.none import NoDefense
from splitleak.pieces import most_plausible
from splitleak.score.scene import Scene

from .test_attacks_inputs import advantage

Stage = Callable[..., Scene]
BEATS: dict[str, Any] = {  # a mirrored or permuted beat is no beat, so that messages alone tell what is what
    "dataset": {"name": "ecg_synthetic", "n": 1000},
    "model": "ecg_cnn",
    "train": {"epochs": 3, "batch_size": 32},
    "attack": {"name": "fora", "starts": 1, "tail": 1000, "width": 16},
    "evaluate": {"targets": 100},
}
NOISE = {"name": "laplace_range", "epsilon": 5.0}


def make_unaware(monkeypatch: pytest.MonkeyPatch, surrogate: type[Any]) -> None:
    """From now on a surrogate client sends as if there were no defence."""
    begin = surrogate.__init__

    def unaware(self: Any, *given: Any) -> None:
        begin(self, *given)
        self.defense = NoDefense()

    monkeypatch.setattr(surrogate, "__init__", unaware)


@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
def test_whoever_reads_the_wire_can_do_it(protocol: str) -> None:
    assert objection("eavesdropper", protocol, Fora.goal, Fora.needs, Grant.AUX) is None


def test_who_reads_the_wire_sees_the_training_and_has_no_part_of_the_server() -> None:
    held = granted("eavesdropper", "vanilla", Fora.goal, Grant(0))
    assert Grant.STEPS in held
    assert not held & (Grant.TOP | Grant.ARCHITECTURE | Grant.HINTS | Grant.TAMPER)


def test_the_start_whose_guesses_look_like_records_counts() -> None:
    def beats(n: int) -> Tensor:
        return torch.sin(torch.arange(16.0) + 6 * torch.rand(n, 1, 1))

    wrong, right = beats(50).flip(2) + 0.5, beats(50)
    assert most_plausible([(wrong, 0.0), (right, 0.0)], beats(200)) is right
    assert most_plausible([(right, 0.0), (wrong, 0.0)], beats(200)) is right


@pytest.mark.slow
def test_messages_alone_tell_what_was_sent_and_empty_ones_nothing(stage: Stage) -> None:
    scene = stage(**BEATS)
    assert advantage(scene) > 0.7
    assert advantage(scene, null=True) <= 0.02


@pytest.mark.slow
def test_the_substitute_sends_through_the_defence(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(**BEATS, defense=NOISE)
    aware = advantage(scene)
    make_unaware(monkeypatch, Substitute)
    assert aware > 0.65
    assert advantage(scene) < aware - 0.15
