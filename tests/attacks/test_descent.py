"""A step down a loss computes gradients only for what the optimizer holds."""

from __future__ import annotations

import torch
from torch import nn

from splitleak.pieces import update


def test_a_network_that_does_not_learn_gets_no_gradient() -> None:
    client, server = nn.Linear(4, 3), nn.Linear(3, 1)
    before = client.weight.detach().clone()
    update(torch.optim.SGD([*client.parameters(), torch.zeros(1)], 0.1), server(client(torch.ones(2, 4))).sum())
    assert not torch.equal(client.weight, before)
    assert server.weight.grad is None


def test_a_client_without_weights_has_no_step() -> None:
    weights, server = torch.zeros(1), nn.Linear(3, 1)
    update(torch.optim.SGD([weights], 0.1), server(torch.ones(2, 3)).sum())
    assert torch.equal(weights, torch.zeros(1))
    assert server.weight.grad is None


def test_a_loss_that_nothing_is_behind_moves_nothing() -> None:
    client = nn.Linear(4, 3)
    before = client.weight.detach().clone()
    update(torch.optim.SGD(client.parameters(), 0.1), torch.ones(()))
    assert torch.equal(client.weight, before)
