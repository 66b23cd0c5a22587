"""Noise with labels of a coin: a network can learn them by heart and in no other way."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from splitleak.contract import Data, Dataset, Records, Task

CLASSES = 8


@dataclass(frozen=True)
class ToyCoin(Dataset):
    """Private and test records are drawn alike, so training is all that tells them apart."""

    n: int = 100  # records of a part
    width: int = 16

    def load(self) -> Data:
        generator = torch.Generator().manual_seed(7)
        return Data(*(self._part(k, generator) for k in range(3)), Task("classes", CLASSES), (0.0, 1.0))

    def _part(self, number: int, generator: torch.Generator) -> Records:
        x = torch.rand(self.n, self.width, generator=generator)
        y = torch.randint(0, CLASSES, (self.n,), generator=generator)
        return Records(x, y, torch.arange(self.n) + 1000 * number)
