"""The fast pool is PyTorch's own, bit for bit, forwards and backwards."""

from __future__ import annotations

import torch
from torch import nn

from splitleak.models._pool import MaxOfPairs


def test_maxima_and_gradients_are_those_of_pytorch() -> None:
    x = torch.randn(5, 3, 16)
    x[0, 0, 2:4] = 0.5  # equal neighbours: the gradient goes to the first
    found = []
    for pool in (nn.MaxPool1d(2), MaxOfPairs()):
        records = x.clone().requires_grad_()
        pooled = pool(records)
        (gradient,) = torch.autograd.grad(pooled, records, torch.arange(pooled.numel()).float().view_as(pooled))
        found.append((pooled.detach(), gradient))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_a_gradient_can_be_differentiated() -> None:
    x = torch.randn(2, 3, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda records: MaxOfPairs()(records).square(), x)
