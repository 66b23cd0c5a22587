"""Each attack of a suite beats the floor, undefended, on a toy where it is known what can be found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from splitleak.attacks.splitspy import FalseLabelDetector
from splitleak.contract import Attack, Goal
from splitleak.plan import suites
from splitleak.plan.seeds import Stream
from splitleak.score import metrics
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

from . import test_attacks_completion, test_attacks_noisy_labels
from .test_attacks_fora import BEATS
from .test_attacks_inputs import FLAT, SIGNALS
from .test_attacks_labels import N, binary, trained_head, vanilla, view_of

Stage = Callable[..., Scene]
LEAST = 0.1  # advantage; the floor is 0
SHORT = {"width": 16, "curve": 1000, "iterations": 800, "pilot": 400}
BY_HEART = {
    "dataset": "toy_coin", "model": "mlp", "evaluate": {"targets": 200}, "train": {"epochs": 40, "lr": 0.01}
}  # fmt: skip
PEOPLE: dict[str, Any] = {
    "dataset": {"name": "ecg_synthetic", "n": 500, "split": "patients", "property": "tall"}, "model": "ecg_cnn",
    "train": {"epochs": 1}, "evaluate": {"targets": 160},
}  # fmt: skip
KEPT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # attack -> the victim, and parameters of a short run
    "channel": (SIGNALS, {}),
    "fora": (BEATS, {"starts": 1, "tail": 500, "width": 16}),
    "query_free": (FLAT, {"shadow": 10, "tv": 0.0, "start": "mean", "restarts": 2}),
    "pcat": (SIGNALS, {"align": 10.0, "warmup": 0, "tail": 300, "invert": 300, "width": 16}),
    "sdar": (BEATS, {"tail": 500, "width": 16, "every": 1}),
    "lira": (BY_HEART, {"shadows": 4}),
    "rmia": (BY_HEART, {"shadows": 2}),
    "unsplit": (FLAT, {"tv": 0.0, "start": "mean", "restarts": 2}),
    "inverse_network": (FLAT, {"steps": 200, "width": 8}),
    "map_search": (FLAT, {"learn": 100, "width": 8}),
    "oracle": (FLAT, {"learn": 100, "width": 8}),
    "inverse_labels": (FLAT | {"protocol": "u_shape"}, {"steps": 200, "width": 8}),
    "fsha": (SIGNALS, SHORT),
    "splitspy": (SIGNALS, SHORT),
    "urvfl": (SIGNALS, SHORT),
    "linkage": (PEOPLE, {"tail": 120}),
    "property_probe": (BEATS | {"dataset": PEOPLE["dataset"] | {"split": "clean"}}, {"tail": 200}),
    "gradient_inversion": (
        {
            "dataset": {"name": "toy_flat", "width": 24}, "model": {"name": "mlp", "hidden": [[32]]}, "clients": 2,
            "protocol": {"name": "fedavg", "rounds": 2, "local_epochs": 1, "local_steps": 1, "batch_size": 1},
            "train": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0, "batch_size": 8}, "evaluate": {"targets": 3},
        },
        {"tv": 0.0, "iterations": 200},
    ),
}  # fmt: skip
SLOW = (
    "exploit", "fora", "fsha", "gradient_inversion", "inverse_labels", "inverse_network", "lira", "map_search",
    "oracle", "pcat", "property_probe", "rmia", "sdar", "splitspy", "urvfl", "source=substitute",
)  # fmt: skip
ATTACKS = {str(one.plugin): one for suite in suites.newest_first() for one in suite.attacks}


def of_kept_victim(attack: Attack, stage: Stage) -> float:
    """An attack on what was released by, or during the training of, a toy."""
    victim, parameters = KEPT[attack.name]
    if attack.goal in (Goal.PROPERTY, Goal.LINKAGE):
        parameters = attack.parameters() | parameters  # how the attacker learns decides what it needs
    chosen = {"evaluate": {"targets": 50}} | victim | {"attack": {"name": attack.name} | parameters}
    tried = Attempt(stage(**chosen))
    tried.own = Stream(0)  # of some seeds so short a hijack fails
    return float(tried.scene.question.score(tried.run()[0])["advantage"])


def of_gradients(attack: Attack, stage: Stage) -> float:
    """Labels from gradients of a linear head, or from its features where they are told apart."""
    y, f, g = trained_head(4, [0.25] * 4, sure=5.0 if "activation" in str(attack) else 2.0)
    guess = attack.run(view_of(y, 4, features=f, gradient_features=g))
    return metrics.classes(guess, y, int(y.bincount().argmax()))["advantage"]


def of_rare_class(attack: Attack, stage: Stage) -> float:
    y, f, g = binary()
    return metrics.classes(attack.run(view_of(y, 2, features=f, gradient_features=g)), y, 0)["signed_auc"]


def of_overfitted_head(attack: Attack, stage: Stage) -> float:
    y, member = torch.randint(0, 3, (N,)), torch.arange(N) < N // 2
    logits = (3.0 * F.one_hot(y, 3) + 0.1 * torch.randn(N, 3)) * (0.2 + member[:, None])
    guess = attack.run(vanilla(nn.Identity(), logits, y, F.softmax(logits, 1) - F.one_hot(y, 3)))
    return metrics.scores(guess, member.double())["advantage"]


def of_flipped_labels(attack: Attack, stage: Stage) -> float:
    return test_attacks_noisy_labels.advantage(attack, *test_attacks_noisy_labels.sent(kept=0.9))


def of_own_messages(attack: Attack, stage: Stage) -> float:
    y, z = test_attacks_completion.classes(apart=8.0)
    return test_attacks_completion.advantage(attack.run(test_attacks_completion.view_of(y, torch.rand(*z.shape), z)), y)


OF_LABELS = {
    "norm": of_rare_class, "exploit": of_rare_class, "noisy_labels": of_flipped_labels, "completion": of_own_messages
}  # fmt: skip


def toy_of(attack: Attack) -> Callable[[Attack, Stage], float]:
    if attack.name in KEPT:
        return of_kept_victim
    if attack.name in OF_LABELS:
        return OF_LABELS[attack.name]
    return {Goal.LABELS: of_gradients, Goal.MEMBERSHIP: of_overfitted_head}[attack.goal]


@pytest.mark.parametrize(
    "label", [pytest.param(n, marks=[pytest.mark.slow] * any(slow in n for slow in SLOW)) for n in ATTACKS]
)
def test_each_attack_of_a_suite_finds_what_can_be_found(
    stage: Stage, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new attack of a suite needs an entry in KEPT: the victim on which it is known what there is to find.

    `splitspy` sees no false labels here, since here there are none.
    """
    monkeypatch.setattr(FalseLabelDetector, "detects", lambda detector, step: False)
    attack = ATTACKS[label].plugin
    assert toy_of(attack)(attack, stage) > LEAST
