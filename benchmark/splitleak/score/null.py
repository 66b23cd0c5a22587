"""The null channel: the same shapes and scales as the real one, but no information about a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from splitleak.contract import Hooks, Parameters, Records, Split, Update


def emptied(update: Update) -> Update:
    """The same update without information: noise of equal size in place of the change of each tensor."""
    after = {}
    for name, before in update.before.items():
        moved = update.after[name] - before
        after[name] = before + moved.square().mean().sqrt() * torch.randn_like(moved)
    return replace(update, after=after)


class NullChannel(Hooks):
    """The hooks of a defence whose messages about a record are noise of the right shape and scale.

    The scale is that of auxiliary records, and of the first gradient: with its own scale a batch would tell how many
    records of a rare class it has.
    """

    def __init__(self, live: Hooks, split: Split, reference: Tensor) -> None:
        self.live = live
        self.scales: dict[torch.Size, Tensor] = {}  # shape of a record's gradient -> standard deviation
        with torch.no_grad():
            z = live.smash(split.bottom(reference)[0])
        self.mean, self.std = z.mean(0), z.std(0)

    def smash(self, z: Tensor) -> Tensor:
        return self.mean + self.std * torch.randn_like(z)

    def gradient(self, g: Tensor, y: Tensor) -> Tensor:
        if not self.scales.get(g.shape[1:]):
            self.scales[g.shape[1:]] = g.std()
        return self.scales[g.shape[1:]] * torch.randn_like(g)

    def optimizer(self, client: Split, make: Callable[[Parameters], torch.optim.Optimizer]) -> torch.optim.Optimizer:
        return self.live.optimizer(client, make)

    def labels(self, records: Records) -> Tensor:
        return self.live.labels(records)

    def batch(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.live.batch(x, y)

    def penalty(self, x: Tensor, z: Tensor, sent: Tensor, y: Tensor) -> Tensor | None:
        return self.live.penalty(x, z, sent, y)

    def observe(self, x: Tensor, sent: Tensor) -> None:
        self.live.observe(x, sent)

    def inspect(self, g: Tensor, y: Tensor) -> None:
        self.live.inspect(g, y)
