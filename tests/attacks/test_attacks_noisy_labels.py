"""Noisy labels: flipped labels are put right by similar records, where the head, the flips and the labels are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from splitleak.attacks.noisy_labels import NoisyLabels, evened, flips_of
from splitleak.attacks.similarity import Similarity
from splitleak.contract import Attack, BadInput, Defense, Grant, Task
from splitleak.contract.view import Facts, View
from splitleak.defenses.label_dp import LabelDP
from splitleak.defenses.max_norm import MaxNorm
from splitleak.plan import plugins
from splitleak.score import metrics

N, K, WIDTH = 600, 4, 16
NOTHING = Defense()


def view_of(y: Tensor, features: Tensor, g: Tensor, defense: Defense = NOTHING, hints: int = 3) -> View:
    """A u-shape in which the features and their gradients were sent for records of the labels y (N,)."""
    facts = Facts((1, 8), (0.0, 1.0), (4,), tuple(features.shape[1:]), Task("classes", K), 32, len(y))
    index = torch.cat([(y == k).nonzero().flatten()[:hints] for k in range(K)])
    sources: dict[str, Callable[[], Any]] = {
        "features": lambda: features, "gradient_features": lambda: g, "defense": lambda: defense,
        "hints": lambda: (index, y[index]),
    }  # fmt: skip
    return View(facts, Grant.SMASHED | Grant.GRADIENT | Grant.HINTS | Grant.DEFENSE, sources)


def sent(kept: float, apart: float = 4.0) -> tuple[Tensor, Tensor, Tensor]:
    """Labels y (N,), features around a centre of each class, and gradients of which the share `kept` shows y."""
    y = torch.randint(0, K, (N,))
    centres = torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0][:K]
    flipped = torch.where(torch.rand(N) < kept, y, (y + torch.randint(1, K, (N,))) % K)
    g = torch.eye(K, WIDTH)[flipped] - 1 / K * torch.eye(K, WIDTH).sum(0) + 0.02 * torch.randn(N, WIDTH)
    return y, apart * centres[y] + torch.randn(N, WIDTH), g


def advantage(attack: Attack, y: Tensor, *view: Any) -> float:
    return metrics.classes(attack.run(view_of(y, *view)), y, int(y.bincount().argmax()))["advantage"]


class Hides(Defense):
    """Seven of ten labels of the last class are sent as the first: the majority of its records lies."""

    def labels(self, records: Any) -> Tensor:
        return torch.where((records.y == K - 1) & (records.id // K % 10 < 7), 0, records.y)


def test_made_up_labels_show_what_the_defence_makes_of_them() -> None:
    y, f, g = sent(1.0)
    for defense, kept in ((NOTHING, 1.0), (MaxNorm(), 1.0), (LabelDP(1.0), 0.475), (LabelDP(3.0), 0.870)):
        flips = flips_of(view_of(y, f, g, defense), 1000)
        torch.testing.assert_close(flips.sum(1), torch.ones(K).double())
        assert flips.diagonal().tolist() == pytest.approx([kept] * K, abs=0.05)
    assert flips_of(view_of(y, f, g, Hides()), 1000)[K - 1].tolist() == pytest.approx([0.7, 0, 0, 0.3], abs=0.01)


@pytest.mark.parametrize("name", plugins.names("defense"))
def test_every_defence_that_ships_can_be_asked_and_one_of_them_flips_labels(name: str) -> None:
    given = {"bits": 8} if name == "quantize" else {}
    defense = plugins.make("defense", {"name": name} | given, Path())
    flips = flips_of(view_of(*sent(1.0), defense), 10)  # type: ignore[arg-type]
    assert bool((flips.diagonal() < 1).any()) is (name == "label_dp")


def test_errors_are_spread_evenly_and_chance_stays_above_chance() -> None:
    even = evened(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.4, 0.6], [0, 0, 0.6, 0.4]]).double())
    assert even[0].tolist() == pytest.approx([0.7, 0.1, 0.1, 0.1])
    assert evened(torch.full((4, 4), 0.25))[0, 0] > 0.25


@pytest.mark.slow
def test_a_class_whose_majority_is_sent_as_another_is_found_by_who_knows_the_defence() -> None:
    y, f, _ = sent(1.0)
    flipped = torch.where((y == K - 1) & (torch.rand(N) < 0.7), 0, y)
    g = (torch.eye(K) - 1 / K)[flipped] + 0.02 * torch.randn(N, K)
    assert advantage(NoisyLabels(), y, f, g, Hides()) > 0.9
    assert advantage(NoisyLabels(), y, f, g, NOTHING) < 0.9  # the same messages, and nothing known of the defence


def test_gradients_that_show_the_labels_give_all_of_them() -> None:
    y, f, g = sent(1.0)
    assert advantage(NoisyLabels(), y, f, g) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_similar_records_put_flipped_labels_right(seed: int) -> None:
    torch.manual_seed(seed)
    y, f, g = sent(0.6, 5.0)
    assert advantage(NoisyLabels(), y, f, g, LabelDP(1.5)) > 0.9
    assert advantage(Similarity(), y, f, g, LabelDP(1.5)) < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_noise_gives_nothing_away(seed: int) -> None:
    torch.manual_seed(seed)
    y, f, g = torch.multinomial(torch.tensor([0.4, 0.3, 0.2, 0.1]), N, True), torch.randn(N, WIDTH), torch.randn(N, 16)
    for defense in (NOTHING, LabelDP(1.0)):
        assert advantage(NoisyLabels(), y, f, g, defense) <= 0.02


def test_a_class_that_no_hint_names_is_never_guessed() -> None:
    y, f, g = sent(1.0)
    view = view_of(y, f, g)
    index = torch.cat([(y == k).nonzero().flatten()[:2] for k in (0, 2, 3)])
    view._sources |= {"hints": lambda: (index, y[index])}
    assert set(NoisyLabels().run(view).argmax(1).tolist()) == {0, 2, 3}


def test_a_mask_is_no_class() -> None:
    view = view_of(*sent(1.0))
    view.task = Task("mask", 1)
    with pytest.raises(BadInput, match="attack 'noisy_labels'"):
        NoisyLabels().run(view)
