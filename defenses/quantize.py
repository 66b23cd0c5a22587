"""Quantisation (Pham et al. 2023): send each element as one of 2^bits evenly spaced values.

With one bit an element is sent as a sign.

Source: Pham, Abuadbba, Gao, Phan, Chilamkurti, "Binarizing Split Learning for Data Privacy Enhancement and Computation
Reduction", IEEE TIFS 2023 (1 bit); the straight-through gradient: Bengio, Leonard, Courville, arXiv 1308.3432, 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from splitleak.contract import Defense, Hooks, Split

REACH = 2.0  # half the range, in standard deviations of z: one bit is then mean - deviation or mean + deviation
MOMENTUM = 0.1  # of the running mean and variance


@dataclass(frozen=True)
class Quantize(Defense):
    """Rounds to the middles of 2^bits equal parts of mean(z) +- 2 deviations; values outside, to the outermost.

    Mean and deviation are two numbers for all elements. They are running estimates over the batches of training (of all
    clients together) and kept with the victim, so that a message after training depends on its own record alone. The
    gradient passes straight through, as if nothing had been rounded. Bytes are still counted as those of z's type.
    """

    bits: Annotated[int, Field(ge=1, le=16)] = 2

    def begin(self, split: Split, seed: int) -> Hooks:
        return _Live(self)

    def smash(self, z: Tensor) -> Tensor:
        """(B, *cut) -> (B, *cut) with this batch's own range: possible without the running estimates of training."""
        flat = z.detach()
        return self._rounded(z, flat.mean(), flat.var(correction=0))

    def _rounded(self, z: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        deviation = variance.sqrt().clamp(min=1e-12)
        steps = 1 << self.bits
        step = 2 * REACH * deviation / steps
        part = ((z.detach() - mean) / step).floor().clamp(-steps // 2, steps // 2 - 1)  # whole numbers
        return mean + (part + 0.5) * step + (z - z.detach())


class _Live(nn.Module, Hooks):
    mean: Tensor
    variance: Tensor
    started: Tensor

    def __init__(self, defense: Quantize) -> None:
        super().__init__()
        self.defense = defense
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("variance", torch.ones(()))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def state(self) -> dict[str, Any]:
        """Only buffers of this module change in training."""
        return {}

    def smash(self, z: Tensor) -> Tensor:
        if self.training:
            self._update_range(z.detach())
        return self.defense._rounded(z, self.mean, self.variance)

    def _update_range(self, z: Tensor) -> None:
        momentum = MOMENTUM if self.started else 1.0  # the first batch sets both
        self.mean.lerp_(z.mean(), momentum)
        self.variance.lerp_(z.var(correction=0), momentum)
        self.started.fill_(True)
