"""Shredder learns noise that the task does not mind."""

from __future__ import annotations

from math import exp
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from splitleak.defenses.shredder import Shredder
from splitleak.train import victim
from splitleak.train.loop import exchange, finish

from .feature_defenses import Stage, network, steps

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")


def shredded(epochs: int = 10, **given: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The noise before and after, and z."""
    split, records, task = network(n=128)
    live = Shredder(**given).begin(split, 0)
    assert isinstance(live, nn.Module)
    start = live.noise.detach().clone()
    z = steps(split, records, task, live, batch=32, epochs=epochs)[-1][0]
    return start, live.noise.detach(), z


def test_shredders_noise_begins_as_laplace_noise_of_its_scale() -> None:
    split, _, _ = network()
    noise = Shredder(tensors=2000, scale=0.3).begin(split, 0).noise.detach()  # type: ignore[attr-defined]
    assert noise.shape == (2000, *split.cut_shape)
    assert float(noise.abs().mean()) == pytest.approx(0.3, rel=0.03)
    assert float((noise.abs() > 0.9).float().mean()) == pytest.approx(exp(-3), rel=0.1)


def test_the_tasks_gradient_teaches_the_noise() -> None:
    split, records, task = network()
    live = Shredder(strength=0, tensors=3).begin(split, 0)
    done = exchange(split, live, task, records.x, records.y)
    finish(done, None)
    sent, z = done.wire["smashed"], split.bottom(records.x)[0].detach()
    which = ((sent - z)[:, None] - live.noise.detach()).abs().sum(2).argmin(1)  # type: ignore[attr-defined]
    by_tensor = torch.zeros(3, 12).index_add(0, which, done.wire["gradient"])
    torch.testing.assert_close(live.noise.grad, by_tensor)  # type: ignore[attr-defined]
    start, end, _ = shredded(strength=0)
    assert (start != end).all()


def test_shredders_noise_grows_with_its_strength_up_to_the_wanted_size() -> None:
    def size(strength: float, in_vivo: float) -> float:
        _, noise, z = shredded(epochs=20, strength=strength, in_vivo=in_vivo, scale=0.05, lr=0.05)
        return float(noise.square().mean() / z.square().mean())

    assert size(0, 1e9) < size(0.3, 1e9) < size(30, 1e9)
    small, large = size(30, 0.25), size(30, 1.0)
    assert 0.15 < small < 0.4
    assert 0.6 < large < 1.6


def test_each_record_gets_one_tensor_of_the_bank_and_all_of_them_are_used() -> None:
    live = Shredder(tensors=4).begin(network()[0], 0)
    sent = live.smash(torch.zeros(400, 12)).detach()
    bank, counts = sent.unique(dim=0, return_counts=True)
    assert len(bank) == 4
    assert counts.min() > 60
    assert torch.equal(bank, live.noise.detach().unique(dim=0))  # type: ignore[attr-defined]


def test_a_client_without_weights_still_has_noise_that_learns(stage: Stage) -> None:
    identity = {"name": "toy_chain", "identity": True}
    scene = stage(model=identity, cut=1, defense={"name": "shredder"})
    start = victim.fresh(scene.case, scene.data).tensors()["defense.noise"]
    assert (scene.kept.tensors["defense.noise"] != start).all()
