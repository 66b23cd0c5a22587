"""The client trains a decoder of its own smashed data and makes it fail: a defence with a learned part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitleak.contract import Defense, Hooks, Split


class Live(nn.Module, Hooks):
    """A decoder with batch norm, which would change whenever it is used in training mode."""

    def __init__(self, smashed: int, records: int, lr: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(smashed)
        self.decoder = nn.Linear(smashed, records)
        self.own = torch.optim.SGD(self.parameters(), lr=lr)

    def smash(self, z: Tensor) -> Tensor:
        return self.norm(z)

    def penalty(self, x: Tensor, z: Tensor, sent: Tensor, y: Tensor) -> Tensor:
        return -0.1 * (self.decoder(sent) - x).square().mean()

    def observe(self, x: Tensor, sent: Tensor) -> None:
        self.own.zero_grad()
        (self.decoder(sent) - x).square().mean().backward()
        self.own.step()


@dataclass(frozen=True)
class ToyLearned(Defense):
    """Shapes are parameters, because `begin` is not told what a record looks like."""

    smashed: int = 6
    records: int = 6
    lr: float = 0.1

    def begin(self, split: Split, seed: int) -> Hooks:
        return Live(self.smashed, self.records, self.lr)
