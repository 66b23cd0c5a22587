"""Who knows only the client's architecture searches records and weights in turn, until both explain what was sent.

Coordinate descent between guesses x (N, *in) and a clone of the client: x descends on MSE(clone(x), z) + tv * TV(x) +
l2 * mean(x^2) with the clone left alone, then the clone's weights on MSE(clone(x), z) with x left alone. No query, no
auxiliary record, no label. z (N, *cut) -> guess (N, *in), which starts at the middle of the range.

Erdogan, Kupcu, Cicek, "UnSplit: Data-Oblivious Model Inversion, Model Stealing, and Label Inference Attacks Against
Split Learning", WPES 2022, section 3. The paper takes one target at a time, 1000 rounds of 100 + 100 steps each. Here
all targets are searched together against one clone, which is the stronger setting (the client is one: what N messages
have in common pins its weights down) and the only affordable one; a slice of targets at a time, and larger steps.
Nothing pins down the clone's sign and scale beyond in_range and its first weights: a guess may be mirrored, shifted
or flattened and explain z as well. So the paper's pull to zero (l2 = 1) is left out: the clone makes up for it at no
cost, and every guess shrinks. How well the messages are explained says nothing about such a mistake.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak.contract import Attack, Goal, Grant, View


@dataclass(frozen=True)
class Unsplit(Attack):
    goal = Goal.INPUTS
    needs = Grant.SMASHED | Grant.ARCHITECTURE

    rounds: int = 25  # paper: 1000
    inner: int = 10  # steps on every target's guess in a round; paper: 100
    clone: int = 100  # steps on the clone in a round, each on one slice; paper: 100
    lr: float = 0.01  # of the guesses, in widths of in_range; paper: 1e-3
    lr_clone: float = 1e-3  # paper: 1e-3
    tv: float = 0.1  # paper: 0.1
    l2: float = 0.0  # paper: 1
    slice: int = 100  # targets at a time; paper: 1

    def run(self, view: View) -> Tensor:
        smashed, (low, high) = view.smashed, view.in_range
        clone = view.fresh_bottom().eval()
        parts = [
            (z, torch.full((len(z), *view.in_shape), (low + high) / 2, device=z.device, requires_grad=True))
            for z in smashed.split(self.slice)
        ]
        searches = [torch.optim.Adam([x], self.lr * (high - low), amsgrad=True) for _, x in parts]
        learner = torch.optim.Adam([*clone.parameters(), torch.zeros(1)], self.lr_clone, amsgrad=True)
        for _ in range(self.rounds):
            clone.requires_grad_(False)
            for (z, x), search in zip(parts, searches, strict=True):
                for _ in range(self.inner):
                    self.guess(clone, z, x, search)
                    x.data.clamp_(low, high)
            clone.requires_grad_(True)
            self.imitate(clone, parts, learner)
        return torch.cat([x.detach() for _, x in parts])

    def guess(self, clone: nn.Module, z: Tensor, x: Tensor, search: torch.optim.Optimizer) -> None:
        """One step of the guesses x (B, *in) towards what this clone would send as z (B, *cut)."""
        loss = F.mse_loss(clone(x), z) + self.tv * variation(x) + self.l2 * x.square().mean()
        (x.grad,) = torch.autograd.grad(loss * len(z), x)  # each target's own loss, however many there are
        search.step()

    def imitate(self, clone: nn.Module, parts: list[tuple[Tensor, Tensor]], learner: torch.optim.Optimizer) -> None:
        """Move the clone towards sending z for these guesses."""
        for _ in range(self.clone):
            z, x = parts[int(torch.randint(len(parts), ()))]
            learner.zero_grad()
            loss = F.mse_loss(clone(x.detach()), z)
            if loss.requires_grad:  # not if the client has no weights
                loss.backward()
            learner.step()


def variation(x: Tensor) -> Tensor:
    """(B, C, ...) -> (): mean absolute difference of neighbours along every axis but the channels'; 0 if flat."""
    return sum((x.diff(dim=axis).abs().mean() for axis in range(2, x.dim())), x.new_zeros(()))
