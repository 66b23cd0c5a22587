"""Model completion: a head on the client's own messages, where it is known what the messages and the records tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from splitleak.attacks.completion import Completion
from splitleak.contract import BadInput, Grant, Task
from splitleak.contract.threats import first_legal
from splitleak.contract.view import Facts, View
from splitleak.score import metrics

N, K, WIDTH = 400, 3, 20
ALL = Grant.INPUTS | Grant.SMASHED | Grant.BOTTOM | Grant.HINTS


def view_of(y: Tensor, x: Tensor, z: Tensor, bottom: nn.Module | None = None, hints: Tensor | None = None) -> View:
    """A client that holds the records x (N, WIDTH) and its messages z, and knows three labels of each class."""
    facts = Facts((WIDTH,), (0.0, 1.0), tuple(z.shape[1:]), None, Task("classes", K), 32, len(y))
    index = torch.cat([(y == k).nonzero().flatten()[:3] for k in range(K)]) if hints is None else hints
    sources: dict[str, Callable[[], Any]] = {
        "inputs": lambda: x, "smashed": lambda: z, "hints": lambda: (index, y[index]),
        "bottom": lambda: bottom or nn.Identity(),
    }  # fmt: skip
    return View(facts, ALL, sources)


def classes(apart: float) -> tuple[Tensor, Tensor]:
    """Labels y (N,) and points (N, WIDTH) around a centre of each class."""
    y = torch.multinomial(torch.tensor([0.4, 0.3, 0.3]), N, replacement=True)
    return y, apart * torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0][:K][y] + torch.randn(N, WIDTH)


def advantage(guess: Tensor, y: Tensor) -> float:
    return metrics.classes(guess, y, int(y.bincount().argmax()))["advantage"]


@pytest.mark.slow
def test_messages_that_tell_the_classes_apart_give_all_labels_and_the_null_finds_nothing() -> None:
    y, z = classes(8.0)
    view = view_of(y, torch.rand(N, WIDTH), z, nn.Linear(WIDTH, WIDTH))
    assert advantage(Completion().run(view), y) > 0.98
    assert abs(advantage(Completion(bottom="random").run(view), y)) < 0.25


def test_records_that_tell_the_classes_apart_are_found_by_the_null_too() -> None:
    y, x = classes(8.0)
    view = view_of(y, x, x, nn.Linear(WIDTH, WIDTH))
    assert advantage(Completion(bottom="random").run(view), y) > 0.9


def test_the_null_uses_none_of_the_trained_weights() -> None:
    y, x = classes(8.0)
    spoiled = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH))
    for p in spoiled.parameters():
        nn.init.zeros_(p)
    assert advantage(Completion(bottom="random").run(view_of(y, x, x, spoiled)), y) > 0.9


def test_pseudo_labels_help_where_classes_are_apart() -> None:
    found = dict.fromkeys((0, 3), 0.0)
    for seed in range(5):
        torch.manual_seed(seed)
        y, z = classes(4.5)
        for rounds in found:
            found[rounds] += advantage(Completion(rounds=rounds, sure=0.8).run(view_of(y, z, z)), y) / 5
    assert found[3] > found[0]


@pytest.mark.parametrize("seed", range(3))
def test_messages_of_noise_give_nothing_away(seed: int) -> None:
    torch.manual_seed(seed)
    y, x = classes(8.0)
    assert advantage(Completion().run(view_of(y, x, torch.randn(N, WIDTH))), y) <= 0.02


def test_a_class_that_no_hint_names_is_never_guessed() -> None:
    y, z = classes(8.0)
    hints = torch.cat([(y == k).nonzero().flatten()[:2] for k in (0, 2)])
    assert set(Completion().run(view_of(y, z, z, hints=hints)).argmax(1).tolist()) == {0, 2}


def test_it_is_the_thief_s_attack() -> None:
    for attack in (Completion(), Completion(bottom="random")):
        assert first_legal("vanilla", attack.goal, attack.needs, Grant(0)) == "label_thief"


def test_a_mask_is_no_class() -> None:
    y, z = classes(1.0)
    view = view_of(y, z, z)
    view.task = Task("mask", 1)
    with pytest.raises(BadInput, match="attack 'completion'"):
        Completion().run(view)
