"""Short signals in [0, 1] of two classes: a hump early or late. A network learns them in seconds."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from splitleak.contract import Data, Dataset, Records, Task


@dataclass(frozen=True)
class ToySignals(Dataset):
    """(1, 16) each; as many auxiliary and test records as private ones."""

    n: int = 64

    def load(self) -> Data:
        generator = torch.Generator().manual_seed(5)
        return Data(*(self._part(k, generator) for k in range(3)), Task("classes", 2), (0.0, 1.0))

    def _part(self, number: int, generator: torch.Generator) -> Records:
        y = torch.arange(self.n) % 2
        centre = 4.0 + 8 * y + torch.randn(self.n, generator=generator)
        x = torch.exp(-(((torch.arange(16.0) - centre[:, None]) / 2) ** 2))  # (n, 16)
        x = (0.8 * x + 0.1 * torch.rand(self.n, 16, generator=generator)).clamp(0, 1)
        return Records(x[:, None], y, torch.arange(self.n) + 1000 * number)
