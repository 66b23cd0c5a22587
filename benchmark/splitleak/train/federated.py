"""Parts of a federation: the clients, the weights they exchange, and Flower's strategies by name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from flwr.serverapp.strategy import FedAdam, FedAvg, FedProx
from torch import Tensor, nn

from splitleak.contract import Records, Split
from splitleak.plan.settings import Federated, Train
from splitleak.train.party import Party

if TYPE_CHECKING:
    from flwr.serverapp.strategy import Strategy

Weights = dict[str, Tensor]
Batch = tuple[Tensor, Tensor, Tensor]  # x, y, and the positions of the records in the private part


class Client(Party):
    """A client that trains so many epochs or batches a round on its own records, and notes which it used."""

    def __init__(self, number: int, split: Split, records: Records, places: Tensor, settings: Train, seed: int) -> None:
        super().__init__(number, split, records, settings, seed)
        self.places, self.endless = places, self._endless()

    def turn(self, settings: Federated) -> Iterator[Batch]:
        """The batches of one round."""
        if settings.local_steps is not None:
            yield from islice(self.endless, settings.local_steps)
        else:
            for _ in range(settings.local_epochs):
                yield from self._epoch()

    def _endless(self) -> Iterator[Batch]:
        while True:
            yield from self._epoch()

    def _epoch(self) -> Iterator[Batch]:
        for x, y, index in self.drawn():
            yield x, y, self.places[index.cpu()]


def weights(network: nn.Module) -> Weights:
    """All that is averaged: weights and buffers, except counters."""
    return {name: t.detach().cpu().clone() for name, t in network.state_dict().items() if t.is_floating_point()}


@torch.no_grad()
def load(network: nn.Module, given: Weights) -> None:
    """Write weights into a network."""
    own = network.state_dict()
    for name, t in given.items():
        own[name].copy_(t)


def nudged(after: Weights, before: Weights) -> Weights:
    """Weights that did not move at all, with one float moved by its smallest step.

    Flower's clipping divides by the length of an update. It is 0 where noise has saturated a network.
    """
    if all(torch.equal(t, before[name]) for name, t in after.items()):
        one = next(iter(after.values())).view(-1)[:1]
        one.copy_(torch.nextafter(one, torch.full_like(one, math.inf)))
    return after


def taking_part(fraction: float, clients: int) -> int:
    """How many clients take part in a round: at least one; Flower rounds down."""
    return max(1, int(clients * fraction))


def strategy_of(settings: Federated, clients: int) -> Strategy:
    """Flower's strategy by name. It waits for no client and asks for no evaluation at the clients."""
    common: dict[str, Any] = {
        "fraction_train": settings.fraction,
        "fraction_evaluate": 0.0,
        "min_train_nodes": taking_part(settings.fraction, clients),
        "min_available_nodes": clients,
    }
    if settings.strategy == "fedprox":
        return FedProx(**common, proximal_mu=settings.proximal_mu)
    if settings.strategy == "fedadam":
        return FedAdam(**common, eta=settings.server_lr)
    return FedAvg(**common)
