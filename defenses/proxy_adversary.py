"""Proxy adversary (Li et al. 2022): train the client so that a proxy attacker fails.

A decoder, the proxy, is trained beside the client to reconstruct records from their smashed data; the client is trained
to make its reconstructions wrong.

Source: Split ResNet-34 and U-Net with a proxy decoder (split-learning-healthcare, 2023). Bounding the reward: Li et
al., "ResSFL", CVPR 2022, section 3.2, there by SSIM.
Differs from the published code:
- The proxy sees z standardised over the batch, and its answer counts only inside the range of the records. So the
  client gains nothing by scaling z, and its loss has a lower bound.
- The proxy is smaller and Adam trains it, not SGD (the fields below give the published values).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Defense, Hooks, Split
from splitleak.snapshot import load_optimizers, optimizer_tensors


@dataclass(frozen=True)
class ProxyAdversary(Defense):
    """The client minimises (1 - weight) * task - weight * L1(proxy(z), x); the proxy minimises L1 alone.

    The client's loop has the task's loss with weight 1, so this defence adds -weight / (1 - weight) * L1. Under Adam,
    where a common factor changes nothing, that is the published sum for the client; server and head get only the task's
    gradient, for them nothing changes. Under SGD the client's step is 1 / (1 - weight) times as long.

    z itself is sent. L1 is in the records' units: a weight means more where they are standardised (published) than in
    [0, 1].

    Nothing is guaranteed: a proxy that fails need not mean that z reveals nothing, because the client may also change
    its code faster than the proxy follows. Judge this defence by a new decoder that is trained afterwards. Several
    clients hand on the one proxy as they hand on their weights. The proxy learns during training only and is kept with
    the victim.
    """

    protocols = ("central", "vanilla", "u_shape")  # it acts while the network learns
    weight: Annotated[float, Field(ge=0, lt=1)] = 0.99  # published: 0.99; 0: the proxy learns, the client ignores it
    hinge: bool = False  # True: no reward beyond the error of the median record, which needs no z; published: no limit
    width: Annotated[int, Field(ge=4)] = 16  # channels of the proxy; published: 32, in five layers
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3  # of Adam, for the proxy; published: SGD, 0.01

    def begin(self, split: Split, seed: int) -> Hooks:
        decoder = cast(nn.Sequential, nets.decoder(split.cut_shape, split.in_shape, split.in_range, self.width))
        return _Live(self, decoder[:-1], split.in_range)  # without its sigmoid, which saturates under L1


class _Live(nn.Module, Hooks):
    """The live form. The proxy's weights take a gradient inside `observe` only; `penalty` trains the client alone."""

    def __init__(self, defense: ProxyAdversary, proxy: nn.Module, in_range: tuple[float, float]) -> None:
        super().__init__()
        self.defense, self.in_range, self.proxy = defense, in_range, proxy.requires_grad_(False)
        self.optimizer_of_proxy = torch.optim.Adam(proxy.parameters(), defense.lr)

    def penalty(self, x: Tensor, z: Tensor, sent: Tensor, y: Tensor) -> Tensor | None:
        if not self.training:  # the release after training: nothing is trained
            return None
        error = distance(self.proxy(sent).clamp(*self.in_range), x)  # (B,)
        if self.defense.hinge:
            error = torch.minimum(error, distance(x.median(0, keepdim=True).values, x))
        return -self.defense.weight / (1 - self.defense.weight) * error.mean()

    def observe(self, x: Tensor, sent: Tensor) -> None:
        self.proxy.requires_grad_(True)
        self.optimizer_of_proxy.zero_grad()
        distance(self.proxy(sent.detach()), x).mean().backward()
        self.optimizer_of_proxy.step()
        self.optimizer_of_proxy.zero_grad()
        self.proxy.requires_grad_(False)

    def state(self) -> dict[str, Any]:
        """The optimiser's; the proxy's weights are this module's."""
        return dict(optimizer_tensors([self.optimizer_of_proxy]))

    def load_state(self, state: dict[str, Any]) -> None:
        load_optimizers([self.optimizer_of_proxy], state)


def distance(guess: Tensor, x: Tensor) -> Tensor:
    """(B, *in) or (1, *in), (B, *in) -> (B,): mean absolute difference."""
    return (guess - x).abs().flatten(1).mean(1)
