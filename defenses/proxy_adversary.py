"""A proxy of the attacker is trained beside the client, which is trained to make its reconstructions fail.

Split ResNet-34 and U-Net with a proxy decoder (split-learning-healthcare, 2023). Bounding what is rewarded: Li et al.,
"ResSFL", CVPR 2022, section 3.2, there by SSIM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Defense, Hooks, Split


@dataclass(frozen=True)
class ProxyAdversary(Defense):
    """The client minimises (1 - weight) * task - weight * L1(proxy(z), x); the proxy minimises L1 alone.

    The client's loop has the task's loss with weight 1, so what is added is -weight / (1 - weight) * L1. Under Adam,
    which knows no common factor, that is the published sum for the client, and for server and head, who get no
    gradient but the task's, it is the same as ever. Under SGD the step of the client is 1 / (1 - weight) as long.

    z itself is sent. The proxy sees it standardised over the batch, and what it answers counts inside the range of the
    records: the client gains nothing by scaling z, and its loss has a lower bound. The published decoder had neither.
    L1 is in the records' units: a weight means more where they are standardised (published) than in [0, 1].

    Nothing is promised: a proxy that fails need not mean that z tells nothing, for the client may as well change its
    code faster than the proxy follows. Judge it by a fresh decoder, trained afterwards. Several clients hand the one
    proxy on as they do their weights. It learns in training alone and is kept with the victim.
    """

    weight: Annotated[float, Field(ge=0, lt=1)] = 0.99  # published: 0.99; 0: the proxy learns, the client ignores it
    hinge: bool = False  # no reward for an error beyond that of the median record, which needs no z; published: none
    width: Annotated[int, Field(ge=4)] = 16  # channels of the proxy; published: 32, in five layers
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3  # Adam's, the proxy's; published: SGD, 0.01

    def begin(self, split: Split, seed: int) -> Hooks:
        decoder = cast(nn.Sequential, nets.decoder(split.cut_shape, split.in_shape, split.in_range, self.width))
        return _Live(self, decoder[:-1], split.in_range)  # without its sigmoid: under L1 it saturates and dies


class _Live(nn.Module, Hooks):
    """Only inside `observe` do the proxy's weights take a gradient: what flows through it there is the client's."""

    def __init__(self, defense: ProxyAdversary, proxy: nn.Module, in_range: tuple[float, float]) -> None:
        super().__init__()
        self.defense, self.in_range, self.proxy = defense, in_range, proxy.requires_grad_(False)
        self.own = torch.optim.Adam(proxy.parameters(), defense.lr)

    def penalty(self, x: Tensor, z: Tensor, sent: Tensor, y: Tensor) -> Tensor | None:
        if not self.training:  # a release: nobody learns
            return None
        error = distance(self.proxy(sent).clamp(*self.in_range), x)  # (B,)
        if self.defense.hinge:
            error = torch.minimum(error, distance(x.median(0, keepdim=True).values, x))
        return -self.defense.weight / (1 - self.defense.weight) * error.mean()

    def observe(self, x: Tensor, sent: Tensor) -> None:
        self.proxy.requires_grad_(True)
        self.own.zero_grad()
        distance(self.proxy(sent.detach()), x).mean().backward()
        self.own.step()
        self.own.zero_grad()
        self.proxy.requires_grad_(False)


def distance(guess: Tensor, x: Tensor) -> Tensor:
    """(B, *in) or (1, *in), (B, *in) -> (B,): mean absolute difference."""
    return (guess - x).abs().flatten(1).mean(1)
