"""Dropout and top-k send a part of the elements."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from splitleak.defenses.dropout import Dropout
from splitleak.defenses.top_k import TopK

from .feature_defenses import network

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")


@pytest.mark.parametrize("rate", [0, 0.3, 0.6, 0.9])
def test_dropout_leaves_out_that_share_and_keeps_the_mean(rate: float) -> None:
    z = torch.full((500, 4, 25), 2.0)
    sent = Dropout(rate).smash(z)
    assert float((sent == 0).float().mean()) == pytest.approx(rate, abs=0.01)
    torch.testing.assert_close(sent[sent != 0], torch.full_like(sent[sent != 0], 2 / (1 - rate)))
    assert float(sent.mean()) == pytest.approx(2, rel=0.03)


def test_dropouts_gradient_passes_through_what_was_sent() -> None:
    z = torch.ones(8, 30, requires_grad=True)
    sent = Dropout(0.75).smash(z)
    (g,) = torch.autograd.grad(sent.sum(), z)
    torch.testing.assert_close(g, sent.detach())  # 0 or 4


@pytest.mark.parametrize(("keep", "k"), [(1.0, 60), (0.5, 30), (0.1, 6), (0.001, 1)])
def test_top_k_keeps_the_largest_of_each_record_as_they_are(keep: float, k: int) -> None:
    z = torch.randn(50, 3, 20)
    sent = TopK(keep).smash(z).flatten(1)
    assert ((sent != 0).sum(1) == k).all()
    assert ((sent == z.flatten(1)) | (sent == 0)).all()
    left_out = torch.where(sent == 0, z.flatten(1), torch.zeros(())).abs().amax(1)
    assert (torch.where(sent == 0, torch.inf, sent.abs()).amin(1) >= left_out).all()


def test_top_k_sends_exactly_k_places_where_elements_are_equal() -> None:
    assert (TopK(0.5).smash(torch.ones(4, 10)).sum(1) == 5).all()


@pytest.mark.parametrize("alpha", [0, 0.1, 0.5, 1])
def test_randomised_top_k_takes_that_share_from_outside_in_training_alone(alpha: float) -> None:
    z = torch.randn(4000, 50)
    live = TopK(0.2, alpha).begin(network()[0], 0)
    assert isinstance(live, nn.Module)
    sent, largest = live.train().smash(z), z.abs().topk(10).indices
    chosen = (sent != 0).float()
    assert (chosen.sum(1) == 10).all()
    inside = chosen.gather(1, largest).mean()
    assert float(inside) == pytest.approx(1 - alpha, abs=0.02)
    outside = chosen.scatter(1, largest, 0).sum(0) / chosen.scatter(1, largest, 0).sum().clamp(min=1)
    assert float(outside.max()) < 0.04  # any of them alike: 1 / 50 each
    assert torch.equal(live.eval().smash(z), TopK(0.2, 0).smash(z))


def test_top_k_outside_the_largest_takes_no_more_than_there_are() -> None:
    live = TopK(0.9, 1.0).begin(network()[0], 0)
    assert (((live.smash(torch.ones(30, 10))) != 0).sum(1) == 9).all()


def test_top_ks_gradient_passes_through_the_kept_elements_alone() -> None:
    z = torch.randn(9, 4, 5, requires_grad=True)
    sent = TopK(0.25).smash(z)
    (g,) = torch.autograd.grad((3 * sent).sum(), z)
    assert torch.equal(g, 3.0 * (sent != 0))
