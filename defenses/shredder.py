"""Learned noise: one of a few tensors, trained to be large where the task does not mind, is added to each record's z.

Mireshghallah, Taram, Ramrakhyani, Jalali, Tullsen, Esmaeilzadeh, "Shredder: Learning Noise Distributions to Protect
Inference Privacy", ASPLOS 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from splitleak.contract import Defense, Hooks, Split

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Shredder(Defense):
    """Minimises task - strength * mean|n| over a bank of noise tensors n (*cut), begun as Laplace noise.

    Each record's message gets one of them, drawn anew each time, in training and after it. As in the paper, a tensor
    is no longer pushed outwards once its in-vivo privacy, 1 / SNR = mean(n^2) / mean(z^2), has reached what is
    wanted; else it would grow for ever. Otherwise than in the paper the network is not frozen: both are trained at
    once, as training has one phase here, so the network learns to live with this noise; and what is sent draws
    among the tensors themselves, not from distributions fitted to them. A few tensors are a few shifts: an attacker
    who may query, or sees many messages, learns to take them away, however large they are.
    """

    strength: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0  # lambda
    in_vivo: Positive = 1.0  # 1 / SNR at which a tensor is large enough
    tensors: Annotated[int, Field(ge=1)] = 8
    scale: Positive = 0.1  # of the Laplace noise that they begin as
    lr: Positive = 1e-2  # Adam's, for the noise alone

    def begin(self, split: Split, seed: int) -> Hooks:
        up, down = (torch.empty(self.tensors, *split.cut_shape).exponential_() for _ in range(2))
        return _Live(self, self.scale * (up - down))


class _Live(nn.Module, Hooks):
    """Has an optimiser of its own: the client's may have no weights, and several clients share the one bank."""

    def __init__(self, defense: Shredder, noise: Tensor) -> None:
        super().__init__()
        self.defense = defense
        self.noise = nn.Parameter(noise)  # (tensors, *cut)
        self.own = torch.optim.Adam(self.parameters(), defense.lr)

    def smash(self, z: Tensor) -> Tensor:
        return z + self.noise[torch.randint(len(self.noise), (len(z),), device=z.device)]

    def penalty(self, x: Tensor, z: Tensor, sent: Tensor, y: Tensor) -> Tensor:
        noise = self.noise.flatten(1)  # (tensors, D)
        small = noise.detach().square().mean(1) < self.defense.in_vivo * z.detach().square().mean()
        return -self.defense.strength * (noise.abs().mean(1) * small).sum()

    def observe(self, x: Tensor, sent: Tensor) -> None:
        """The gradient came back with the client's: from the server through what was sent, and from the penalty."""
        self.own.step()
        self.own.zero_grad()
