"""Attacks on images, where the answer is known: a client that changes nothing, a channel of noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from splitleak import nets
from splitleak.attacks import adra, fsha_published
from splitleak.contract import BadInput, Step
from splitleak.pieces import query_batches
from splitleak.plan import plugins
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

Stage = Callable[..., Scene]
OPEN = {"name": "toy_chain", "identity": True}  # a client that changes nothing, cut behind it
IMAGES = {"dataset": {"name": "toy_images", "n": 192}, "model": OPEN, "cut": 1, "train": {"epochs": 1}}
ATTACKS = {
    "adra": {"name": "adra", "epochs": 60},
    "inverse": {"name": "inverse_network", "steps": 300, "width": 16},
    "S": {"name": "inverse_network", "steps": 300, "size": "S"},
    "P": {"name": "inverse_network", "steps": 300, "size": "P"},
    "L": {"name": "inverse_network", "steps": 200, "width": 16, "size": "L"},
    "rmle": {"name": "rmle"},
}
SLOW = ("adra", "inverse", "L")
CUTS = [(64, 32, 32), (64, 16, 16), (128, 8, 8), (512, 2, 2), (16, 5, 5), (1, 64, 64), (48,)]


def advantage(scene: Scene, null: bool = False) -> float:
    return float(scene.question.score(Attempt(scene, null).run()[0])["advantage"])


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in ATTACKS])
def test_a_client_that_changes_nothing_leaks_every_image(stage: Stage, name: str) -> None:
    assert advantage(stage(attack=ATTACKS[name], **IMAGES, evaluate={"targets": 50})) > 0.9


@pytest.mark.parametrize("defense", ["none", "toy_static"])
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in ATTACKS])
def test_noise_tells_nothing_of_an_image(stage: Stage, name: str, defense: str) -> None:
    scene = stage(attack=ATTACKS[name], **IMAGES, defense=defense, evaluate={"targets": 50})
    assert advantage(scene, null=defense == "none") <= 0.02


def test_a_younger_parameter_at_its_default_leaves_keys_and_seeds_alone() -> None:
    plain = plugins.make("attack", {"name": "inverse_network"}, Path())
    assert plain.parameters().keys() == {"steps", "batch", "lr", "width", "dense", "checks"}
    assert plugins.make("attack", {"name": "inverse_network", "size": "M"}, Path()).parameters() == plain.parameters()
    assert plugins.make("attack", {"name": "inverse_network", "size": "S"}, Path()).parameters()["size"] == "S"


def test_a_size_that_does_not_exist_is_bad_input() -> None:
    with pytest.raises(BadInput, match="size: must be 'P', 'S', 'M', 'L' or 'XL', not 'XXL'"):
        plugins.make("attack", {"name": "inverse_network", "size": "XXL"}, Path())


class CountingView:
    """A view that counts the records that were queried."""

    in_shape, cut_shape = (1, 8, 8), (1, 8, 8)

    def __init__(self, noise: float) -> None:
        self.noise, self.n = noise, 0

    def query(self, x: torch.Tensor) -> torch.Tensor:
        self.n += len(x)
        return x + self.noise * torch.randn_like(x)


@pytest.mark.parametrize(("noise", "queried"), [(0.0, 2 * 64), (0.5, 5 * 64)])
def test_images_are_queried_again_only_as_long_as_the_replies_change(noise: float, queried: int) -> None:
    view, records = CountingView(noise), torch.rand(64, 1, 8, 8)
    batches = query_batches(view, records, 16)  # type: ignore[arg-type]
    for _ in range(5 * 16):  # five queries, each for four passes of four batches
        z, rows = next(batches)
        assert (z - records[rows]).abs().max() <= 8 * noise
    assert view.n == queried


@pytest.mark.slow
def test_a_black_background_does_not_swallow_what_is_in_front_of_it() -> None:
    x = torch.zeros(64, 1, 8, 8)
    x[torch.arange(64), 0, torch.arange(64) % 8, torch.arange(64) // 8] = 1.0  # one bright point each
    decoder = nets.decoder((1, 8, 8), (1, 8, 8), (0.0, 1.0), 16)
    optimizer = torch.optim.Adam(decoder.parameters(), 3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        loss = (decoder(x) - x).square().mean()
        loss.backward()
        optimizer.step()
    guess = decoder.eval()(x)
    assert (guess - x).square().mean() < 0.1 * x.square().mean()  # what an all-black guess has
    assert 0 <= guess.min() <= guess.max() <= 1


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_every_decoder_makes_an_image_of_any_cut(cut: tuple[int, ...]) -> None:
    for record in ((1, 64, 64), (3, 28, 28)):
        z = torch.randn(2, *cut)
        made = [
            nets.light_decoder(cut, record, (0.0, 1.0), 16),
            nets.exact_decoder(cut, record, (0.0, 1.0), 16),
            nets.decoder(cut, record, (0.0, 1.0), 16, 8, full=True),
        ]
        for decoder in (*made, adra.network(cut, record, 8)):
            assert decoder(z).shape == (2, *record)


@pytest.mark.parametrize("cut", CUTS[:-1], ids=str)
def test_the_published_networks_fit_any_cut_of_images(cut: tuple[int, ...]) -> None:
    pilot, inverse = fsha_published.pilot_and_inverse((1, 64, 64), cut, (0.0, 1.0), 4)
    code = pilot(torch.rand(4, 1, 64, 64))
    assert code.shape == (4, *cut)
    guess = inverse(code)
    assert guess.shape == (4, 1, 64, 64)
    assert 0 <= guess.min() <= guess.max() <= 1
    critic = fsha_published.residual_critic(cut, 16)
    assert critic(code).shape == (4, 1)
    assert sum(isinstance(m, fsha_published.Block) for m in critic) == 6


def test_the_published_hijack_answers_every_step_but_the_last(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Tensor] = []
    reply = Step.reply
    monkeypatch.setattr(Step, "reply", lambda step, g: (answers.append(g), reply(step, g))[1])
    attack = {"name": "fsha_published", "iterations": 4, "width": 4, "critic": 8, "curve": 2}
    tried = Attempt(stage(attack=attack, **IMAGES, evaluate={"targets": 20}))
    assert tried.run()[0].shape == (20, 1, 8, 8)
    assert [point["step"] for point in tried.curve] == [0, 2, 4]
    assert len(answers) == 4
    assert all(g.isfinite().all() and g.abs().sum() > 0 for g in answers)
    flat = stage(attack=attack, dataset="toy_flat", model="toy_chain", evaluate={"targets": 20})
    with pytest.raises(BadInput, match="it is for images"):
        Attempt(flat).run()


def test_a_search_weighs_total_variation_as_it_is_told(stage: Stage) -> None:
    def varies(**more: float) -> tuple[float, float]:
        scene = stage(attack={"name": "rmle", "steps": 200, **more}, **IMAGES, evaluate={"targets": 20})
        guess = Attempt(scene).run()[0]
        return float(guess.diff(dim=3).abs().mean()), float(scene.question.score(guess)["advantage"])

    free, flat, slow = varies(tv=0.0), varies(tv=100.0), varies(tv=0.0, eps=10.0)
    assert free[1] > 0.9
    assert flat[0] < 0.2 * free[0]
    assert slow[1] < 0.1  # gradients of means are far below 1: the search hardly moves


def test_a_search_goes_through_a_client_with_norms_in_eval_mode(stage: Stage) -> None:
    attack = {"name": "rmle", "slice": 20, "steps": 100}
    scene = stage(attack=attack, dataset="toy_images", model="toy_skips", cut=1, evaluate={"targets": 30})
    tried = Attempt(scene)
    norms = [m for m in tried.view.bottom.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(m.training for m in norms)
    assert float(scene.question.score(tried.run()[0])["advantage"]) > 0.3
