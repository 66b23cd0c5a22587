"""Quantisation sends one of a few values for each element."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from splitleak.defenses.quantize import Quantize

from .feature_defenses import network

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")


def test_one_bit_is_the_mean_plus_or_minus_a_deviation() -> None:
    z = 5 + 3 * torch.randn(200, 10)
    mean, deviation = z.mean(), z.std(correction=0)
    torch.testing.assert_close(Quantize(1).smash(z), mean + deviation * torch.where(z >= mean, 1.0, -1.0))


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_quantised_values_are_evenly_spaced_and_the_nearest_ones(bits: int) -> None:
    z = torch.randn(5000, 4).clamp(-1.5, 1.5)  # all within the range
    sent = Quantize(bits).smash(z)
    values = sent.unique()
    assert 2 ** (bits - 1) <= len(values) <= 2**bits
    step = 4 * float(z.std(correction=0)) / 2**bits
    torch.testing.assert_close(values.diff(), torch.full_like(values.diff(), step), rtol=0.02, atol=1e-4)
    assert float((sent - z).abs().max()) <= step / 2 + 1e-4


def test_more_bits_are_nearer_to_the_truth() -> None:
    z = torch.randn(300, 20)
    errors = [float((Quantize(bits).smash(z) - z).square().mean()) for bits in (1, 2, 3, 5)]
    assert errors == sorted(errors, reverse=True)


def test_the_gradient_passes_straight_through_rounding() -> None:
    z, weight = torch.randn(6, 7, requires_grad=True), torch.randn(6, 7)
    (g,) = torch.autograd.grad((Quantize(1).smash(z) * weight).sum(), z)
    assert torch.equal(g, weight)


def test_the_range_follows_training_and_then_stands_still() -> None:
    live = Quantize(3).begin(network()[0], 0)
    assert isinstance(live, nn.Module)
    batches = [k + (k + 1) * torch.randn(100, 8) for k in range(4)]
    mean, variance = float(batches[0].mean()), float(batches[0].var(correction=0))
    for z in batches:
        live.smash(z)
    for z in batches[1:]:
        mean, variance = 0.9 * mean + 0.1 * float(z.mean()), 0.9 * variance + 0.1 * float(z.var(correction=0))
    state = live.eval().state_dict()
    assert float(state["mean"]) == pytest.approx(mean, rel=1e-4)
    assert float(state["variance"]) == pytest.approx(variance, rel=1e-4)
    z = 100 * torch.randn(10, 8)
    whole = live.smash(z)
    assert torch.equal(whole, torch.cat([live.smash(one) for one in z.split(1)]))  # of its own record alone
    assert all(torch.equal(t, live.state_dict()[name]) for name, t in state.items())
