"""Shredder (Mireshghallah et al. 2020): add learned noise, large where the task allows it.

Each record's message gets one of a few noise tensors, which are trained to be large where that does not hurt the task.

Source: Mireshghallah, Taram, Ramrakhyani, Jalali, Tullsen, Esmaeilzadeh, "Shredder: Learning Noise Distributions to
Protect Inference Privacy", ASPLOS 2020.
Differs from the paper:
- The network is not frozen: training has one phase here and trains both, so the network adapts to this noise.
- Each message gets one of the trained tensors themselves, not a draw from distributions fitted to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from splitleak.contract import Defense, Hooks, Split
from splitleak.snapshot import load_optimizers, optimizer_tensors

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Shredder(Defense):
    """Minimises task - strength * mean|n| over a bank of noise tensors n (*cut) that start as Laplace noise.

    Each record's message gets one of them, drawn anew each time, in training and after it. As in the paper, a tensor is
    no longer enlarged once its in-vivo privacy, 1 / SNR = mean(n^2) / mean(z^2), has reached the wanted value;
    otherwise it would grow without end. A few tensors are only a few shifts: an attacker who may query, or sees many
    messages, learns to remove them, however large they are.
    """

    strength: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0  # lambda
    in_vivo: Positive = 1.0  # 1 / SNR at which a tensor is large enough
    tensors: Annotated[int, Field(ge=1)] = 8
    scale: Positive = 0.1  # of the Laplace noise that they start as
    lr: Positive = 1e-2  # of Adam, for the noise alone

    def begin(self, split: Split, seed: int) -> Hooks:
        up, down = (torch.empty(self.tensors, *split.cut_shape).exponential_() for _ in range(2))
        return _Live(self, self.scale * (up - down))


class _Live(nn.Module, Hooks):
    """The live form. It has its own optimiser: a client may have no weights, and several clients share the one bank."""

    def __init__(self, defense: Shredder, noise: Tensor) -> None:
        super().__init__()
        self.defense = defense
        self.noise = nn.Parameter(noise)  # (tensors, *cut)
        self.optimizer_of_noise = torch.optim.Adam(self.parameters(), defense.lr)

    def smash(self, z: Tensor) -> Tensor:
        return z + self.noise[torch.randint(len(self.noise), (len(z),), device=z.device)]

    def penalty(self, x: Tensor, z: Tensor, sent: Tensor, y: Tensor) -> Tensor:
        noise = self.noise.flatten(1)  # (tensors, D)
        small = noise.detach().square().mean(1) < self.defense.in_vivo * z.detach().square().mean()
        return -self.defense.strength * (noise.abs().mean(1) * small).sum()

    def observe(self, x: Tensor, sent: Tensor) -> None:
        """The client's backward pass filled the gradient: from the server through what was sent, and the penalty's."""
        self.optimizer_of_noise.step()
        self.optimizer_of_noise.zero_grad()

    def state(self) -> dict[str, Any]:
        """The optimiser's; the noise is this module's."""
        return dict(optimizer_tensors([self.optimizer_of_noise]))

    def load_state(self, state: dict[str, Any]) -> None:
        load_optimizers([self.optimizer_of_noise], state)
