"""Noise in place of every message: nothing about a record crosses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitleak.contract import Defense


@dataclass(frozen=True)
class ToyStatic(Defense):
    """Uniform noise, of no use to anybody, in both directions."""

    def smash(self, z: Tensor) -> Tensor:
        return torch.rand_like(z)

    def gradient(self, g: Tensor, y: Tensor) -> Tensor:
        return torch.randn_like(g)
