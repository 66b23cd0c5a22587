"""Attacks on images and masks, where the answer is known: a client that hides nothing, a channel of noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from splitleak import nets
from splitleak.attacks import adra
from splitleak.attacks.inverse_network import InverseNetwork
from splitleak.contract import BadInput, Grant
from splitleak.contract.view import Step
from splitleak.pieces import lessons
from splitleak.plan import matrix, plugins
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

Stage = Callable[..., Scene]
OPEN = {"name": "toy_chain", "identity": True}  # a client that changes nothing, cut behind it
IMAGES = {"dataset": {"name": "toy_images", "n": 192}, "model": OPEN, "cut": 1, "train": {"epochs": 1}}
MASKS = IMAGES | {"protocol": "u_shape"}  # else the masks cross the wire and nobody need guess them
ATTACKS = {
    "adra": {"name": "adra", "epochs": 60},
    "inverse": {"name": "inverse_network", "steps": 300, "width": 16},
    "S": {"name": "inverse_network", "steps": 300, "size": "S"},
    "L": {"name": "inverse_network", "steps": 200, "width": 16, "size": "L"},
    "rmle": {"name": "rmle"},
}
SLOW = ("adra", "L")
READING = {"name": "inverse_network", "steps": 200, "width": 16, "goal": "labels"}
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


@pytest.mark.slow
def test_masks_are_read_off_what_a_client_sends_that_keeps_them(stage: Stage) -> None:
    many = MASKS | {"dataset": {"name": "toy_images", "n": 600}}
    scene = stage(attack=READING | {"steps": 300}, **many, evaluate={"targets": 50})
    guess = Attempt(scene).run()[0]
    assert guess.shape == (50, 1, 8, 8)
    assert scene.question.score(guess)["advantage"] > 0.85


@pytest.mark.parametrize("defense", ["none", "toy_static"])
def test_noise_tells_nothing_of_a_mask(stage: Stage, defense: str) -> None:
    scene = stage(attack=READING | {"steps": 60}, **MASKS, defense=defense, evaluate={"targets": 50})
    guess = Attempt(scene, null=defense == "none").run()[0]
    found = scene.question.score(guess)["advantage"]
    assert scene.question.null_leaks(guess, found, 0)[0] is False
    assert found <= 0.02


def test_features_tell_the_server_what_z_alone_does_not_need_to(stage: Stage) -> None:
    scene = stage(attack=READING | {"steps": 20}, dataset="toy_images", model="toy_skips", evaluate={"targets": 20})
    view = Attempt(scene).view
    attack = InverseNetwork(goal=scene.goal, width=8)
    both = attack.decoder(view, (1, 8, 8))
    before = {name: t.clone() for name, t in view.top.state_dict().items()}
    both.train()(view.smashed)
    assert all(torch.equal(t, before[name]) for name, t in both.top[0].state_dict().items())  # norms stood still
    assert not both.top[0].training
    assert not any("top" in name for name, _ in both.named_parameters())
    assert Attempt(scene).run()[0].shape == (20, 1, 8, 8)


@pytest.mark.parametrize("dataset", [{"name": "toy_flat", "task": "value"}, "toy_flat"], ids=["values", "classes"])
def test_other_labels_are_guessed_in_their_own_shape(stage: Stage, dataset: Any) -> None:
    attack = READING | {"steps": 200}
    scene = stage(attack=attack, dataset=dataset, model=OPEN, cut=1, protocol="u_shape", evaluate={"targets": 40})
    guess = Attempt(scene).run()[0]
    assert guess.shape == ((40, 3) if scene.data.task.kind == "classes" else scene.targets.y.shape)
    assert scene.question.score(guess)["advantage"] > 0.1


def test_what_is_reconstructed_is_a_parameter_and_decides_what_is_needed() -> None:
    image, mask = (plugins.make("attack", {"name": "inverse_network"} | more, Path()) for more in ({}, READING))
    assert "labels" in str(mask)
    assert "goal" not in str(image)
    assert Grant.AUX_LABELS in mask.needs  # type: ignore[attr-defined]
    assert Grant.AUX_LABELS not in image.needs  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match="goal: must be 'inputs' or 'labels', not 'membership'"):
        plugins.make("attack", {"name": "inverse_network", "goal": "membership"}, Path())
    with pytest.raises(BadInput, match="size: must be 'S', 'M', 'L' or 'XL', not 'XXL'"):
        plugins.make("attack", {"name": "inverse_network", "size": "XXL"}, Path())


def test_masks_that_cross_the_wire_are_no_secret() -> None:
    whole = {"dataset": ["ecg_synthetic"], "model": ["ecg_cnn"], "attack": [READING], "threat": ["query_server"]}
    (cell,) = [c for c in matrix.read({"matrix": whole}).cells if c.attack["name"] == "inverse_network"]
    assert "already holds the labels" in str(cell.skip)


def test_a_younger_parameter_at_its_default_leaves_keys_and_seeds_alone() -> None:
    plain = plugins.make("attack", {"name": "inverse_network"}, Path())
    assert plain.parameters().keys() == {"steps", "batch", "lr", "width", "dense", "checks"}
    assert plugins.make("attack", {"name": "inverse_network", "size": "M"}, Path()).parameters() == plain.parameters()
    assert plugins.make("attack", {"name": "inverse_network", "size": "S"}, Path()).parameters()["size"] == "S"


class Asked:
    """A view that counts how many records were asked."""

    in_shape, cut_shape = (1, 8, 8), (1, 8, 8)

    def __init__(self, noise: float) -> None:
        self.noise, self.n = noise, 0

    def query(self, x: torch.Tensor) -> torch.Tensor:
        self.n += len(x)
        return x + self.noise * torch.randn_like(x)


@pytest.mark.parametrize(("noise", "asked"), [(0.0, 2 * 64), (0.5, 5 * 64)])
def test_images_are_asked_anew_only_as_long_as_the_answers_change(noise: float, asked: int) -> None:
    view, own = Asked(noise), torch.rand(64, 1, 8, 8)
    endless = lessons(view, own, 16)  # type: ignore[arg-type]
    for _ in range(5 * 16):  # five sets of answers, each for four passes of four batches
        z, i = next(endless)
        assert (z - own[i]).abs().max() <= 8 * noise
    assert view.n == asked


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
            nets.decoder(cut, record, (0.0, 1.0), 16, 8, full=True),
        ]
        for decoder in (*made, adra.network(cut, record, 8)):
            assert decoder(z).shape == (2, *record)


@pytest.mark.parametrize("cut", CUTS[:-1], ids=str)
def test_the_published_networks_fit_any_cut_of_images(cut: tuple[int, ...]) -> None:
    pilot, inverse = nets.strided_pilot((1, 64, 64), cut, (0.0, 1.0), 4)
    code = pilot(torch.rand(4, 1, 64, 64))
    assert code.shape == (4, *cut)
    guess = inverse(code)
    assert guess.shape == (4, 1, 64, 64)
    assert 0 <= guess.min() <= guess.max() <= 1
    critic = nets.residual_critic(cut, 16)
    assert critic(code).shape == (4, 1)
    assert sum(isinstance(m, nets._Block) for m in critic) == 6


def test_the_published_hijack_answers_every_step_but_the_last(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Tensor] = []
    reply = Step.reply
    monkeypatch.setattr(Step, "reply", lambda step, g: (answers.append(g), reply(step, g))[1])
    attack = {"name": "fsha_published", "iterations": 4, "width": 4, "curve": 2}
    tried = Attempt(stage(attack=attack, **IMAGES, evaluate={"targets": 20}))
    assert tried.run()[0].shape == (20, 1, 8, 8)
    assert [point["step"] for point in tried.curve] == [0, 2, 4]
    assert len(answers) == 4
    assert all(g.isfinite().all() and g.abs().sum() > 0 for g in answers)
    flat = stage(attack=attack, dataset="toy_flat", model="toy_chain", evaluate={"targets": 20})
    with pytest.raises(BadInput, match="it is for images"):
        Attempt(flat).run()


def test_a_search_goes_through_a_client_with_norms_in_eval_mode(stage: Stage) -> None:
    attack = {"name": "rmle", "slice": 20, "steps": 100}
    scene = stage(attack=attack, dataset="toy_images", model="toy_skips", cut=1, evaluate={"targets": 30})
    tried = Attempt(scene)
    norms = [m for m in tried.view.bottom.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(m.training for m in norms)
    assert float(scene.question.score(tried.run()[0])["advantage"]) > 0.3
