"""FSHA as published (Pasquini et al. 2021): the paper's image networks and Wasserstein loss.

All networks learn at every step. Pilot and inverse learn to encode and decode auxiliary records. A critic of six
residual blocks learns to put a distance between the pilot's code and the client's activations, with a penalty where
the norm of its gradient is not 1. The client is sent the gradient that makes its activations look like the pilot's
code. z (N, *cut) -> guess (N, *in). Images only; for other records, and on two cores, use `fsha`.

Source: Pasquini, Ateniese, Bernaschi, "Unleashing the Tiger: Inference Attacks on Split Learning", ACM CCS 2021,
section 3; networks of the appendix, scaled to the cut. By its multiply-adds the critic takes seconds for an iteration
on one core (not timed).

Differs from the paper:
- The attack does not set the client's learning rate. The paper's is 1e-5; set it in `[train]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2, prod
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

from splitleak.contract import Attack, BadInput, Goal, Grant, Shape, View, later
from splitleak.pieces import decode, gradient_between, update


@dataclass(frozen=True)
class FSHAPublished(Attack):
    """It ends the training after `iterations` steps; the guess is for the client at that moment."""

    goal = Goal.INPUTS
    needs = Grant.STEPS | Grant.TAMPER | Grant.AUX | Grant.SMASHED

    iterations: int = 10000
    width: int = 64  # channels of the pilot's first level
    critic: Annotated[int, Field(ge=1)] = later(256)  # channels of the critic; paper: 256
    penalty: float = 500.0
    lr: float = 1e-5  # Adam's, of pilot and inverse; the critic's is ten times that
    curve: int = 500  # steps between two points of the curve in the record

    def run(self, view: View) -> Tensor:
        if len(view.in_shape) != 3 or len(view.cut_shape) != 3:
            raise BadInput(f"attack 'fsha_published': it is for images and cuts (channels, height, width), not for "
                           f"{view.in_shape} and {view.cut_shape}; use attack 'fsha'")  # fmt: skip
        aux = view.aux
        pilot, inverse = pilot_and_inverse(view.in_shape, view.cut_shape, view.in_range, self.width)
        critic = residual_critic(view.cut_shape, self.critic).to(aux.device)
        coding = torch.optim.Adam(nn.ModuleList([pilot, inverse]).to(aux.device).parameters(), self.lr)
        judging = torch.optim.Adam(critic.parameters(), 10 * self.lr)
        for i, step in enumerate(view.steps):
            if i % self.curve == 0:
                view.log(i, lambda z: decode(inverse, z))
            if i == self.iterations:
                break
            z = step.smashed  # (B, *cut)
            x = aux[torch.randint(len(aux), (len(z),), device=z.device)]  # (B, *in)
            code = pilot(x)
            update(coding, F.mse_loss(inverse(code), x))
            reply = pull(critic, z)
            code = code.detach()
            excess = gradient_between(critic, code, z).norm(dim=1) - 1
            update(judging, critic(z).mean() - critic(code).mean() + self.penalty * excess.square().mean())
            step.reply(reply)
        return decode(inverse, view.smashed)


def pull(critic: nn.Module, z: Tensor) -> Tensor:
    """The gradient that makes z look like the pilot's code to the critic."""
    z = z.clone().requires_grad_()
    (g,) = torch.autograd.grad(-critic(z).mean(), z)
    return g


def pilot_and_inverse(record: Shape, cut: Shape, span: tuple[float, float], width: int) -> tuple[nn.Module, nn.Module]:
    """(B, *in) -> (B, *cut) and back: a convolution of stride 2 for each halving of the size, and tanh at the end.

    The paper has 64, 128 and 256 channels, and 256 and 128 back.
    """
    scale = max(whole / part for part, whole in zip(cut[1:], record[1:], strict=True))
    halvings = max(round(log2(scale)), 0)
    inner = max(halvings - 1, 0)
    down = [record[0], *(min(width * 2**k, 4 * width) for k in range(inner)), cut[0]]  # channels
    up = [cut[0], *(4 * width // 2**k for k in range(inner)), record[0]]
    encode: list[nn.Module] = [] if halvings else [nn.Conv2d(record[0], cut[0], 3, 1, 1)]
    back: list[nn.Module] = [] if halvings else [nn.Conv2d(cut[0], record[0], 3, 1, 1)]
    for k in range(halvings):
        encode += [*([nn.SiLU()] if k else []), nn.Conv2d(down[k], down[k + 1], 3, 2, 1)]
        back += [*([nn.ReLU()] if k else []), nn.ConvTranspose2d(up[k], up[k + 1], 4, 2, 1)]
    pilot = nn.Sequential(*encode, nn.AdaptiveAvgPool2d(cut[1:]))  # to the cut's size, where factors are uneven
    return pilot, nn.Sequential(*back, nn.Upsample(record[1:], mode="bilinear"), nn.Tanh(), FromTanh(*span))


def residual_critic(cut: Shape, width: int) -> nn.Module:
    """(B, *cut) -> (B, 1): a convolution, six residual blocks, a convolution of stride 2 and a dense layer."""
    half = [(side + 1) // 2 for side in cut[1:]]
    last = [nn.Conv2d(width, width, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(width * prod(half), 1)]
    return nn.Sequential(nn.Conv2d(cut[0], width, 3, 1, 1), nn.ReLU(), *(Block(width) for _ in range(6)), *last)


class Block(nn.Module):
    """x + two convolutions of x, each after a ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class FromTanh(nn.Module):
    """From the range of tanh, -1 to 1, to the range of the records."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * (x + 1) / 2
