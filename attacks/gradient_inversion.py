"""Find records whose own training moves the weights in the direction that the client's update has.

Zhu, Liu and Han, "Deep Leakage from Gradients", NeurIPS 2019; with the cosine distance, total variation and the several
local steps of Geiping, Bauermeister, Droege and Moeller, "Inverting Gradients - How easy is it to break privacy in
federated learning?", NeurIPS 2020, sections 4 and 6. Labels first: the last bias says which classes were in the batch
(Zhao, Mopuri and Bilen, "iDLG", 2020; how often: Wainakh et al., "User-Level Label Leakage from Gradients", 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from splitleak.contract import Attack, Goal, Grant, Update, View

Weights = dict[str, Tensor]
EXACT = 1e-6  # a cosine distance that no other records have


@dataclass(frozen=True)
class GradientInversion(Attack):
    """Guesses (N, *in): each update is inverted by itself; more than `most` records in one are beyond hope."""

    goal: Goal = Goal.INPUTS
    needs: Grant = Grant.UPDATES | Grant.ARCHITECTURE
    iterations: Annotated[int, Field(ge=1)] = 400  # paper: 4800, and more for several local steps
    restarts: Annotated[int, Field(ge=1)] = 2  # paper: 1 to 16; the one that fits the update best is taken
    lr: Annotated[float, Field(gt=0)] = 0.1  # paper: 0.1, of signed gradients; in spans of the records' range
    tv: Annotated[float, Field(ge=0)] = 1e-4  # paper: 1e-1 to 1e-6, by network and records
    most: Annotated[int, Field(ge=1)] = 64  # records at once; of a larger update the guess is its first so many

    def run(self, view: View) -> Tensor:
        low, high = view.in_range
        guess = torch.full((view.targets, *view.in_shape), (low + high) / 2)
        for update in view.updates:
            found = self.invert(view, update)
            guess[update.targets] = found[torch.arange(len(update.targets)) % len(found)]
        return guess

    def invert(self, view: View, update: Update) -> Tensor:
        """(n, *in): the best of some starts."""
        model = view.fresh_model().train()
        best = self.descend(model, view, update)
        for _ in range(self.restarts - 1):
            if best[0] > EXACT:
                best = min(best, self.descend(model, view, update), key=lambda found: found[0])
        return best[1]

    def descend(self, model: nn.Module, view: View, update: Update) -> tuple[float, Tensor]:
        """(cost, records) from a random start, by Adam on the sign of the slope."""
        low, high = view.in_range
        n, batch = min(update.n, self.most), min(update.n, self.most, update.batch_size)
        sent = torch.cat([(update.after[k] - update.before[k]).flatten() for k, _ in model.named_parameters()])
        y, free = labels(model, view, update, n)
        x = torch.rand(n, *view.in_shape).mul(high - low).add(low).requires_grad_()
        optimizer = torch.optim.Adam([x, *free], self.lr * (high - low))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.iterations)
        for _ in range(self.iterations):
            moved = trained(model, view, update, x, y, batch)
            cost = 1 - torch.cosine_similarity(moved, sent, dim=0)
            optimizer.zero_grad()
            (cost + self.tv * variation(x)).backward()
            for t in (x, *free):
                t.grad = None if t.grad is None else t.grad.sign()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                x.clamp_(low, high)
        return cost.item(), x.detach()


def trained(model: nn.Module, view: View, update: Update, x: Tensor, y: Tensor, batch: int) -> Tensor:
    """(P,): how these records in their order, batch after batch, would move the weights; differentiable.

    With Adam at the client the first step moves each weight by lr times the sign of its slope: there the slopes at the
    round's first weights are summed up, and only their direction is compared.
    """
    names = [name for name, _ in model.named_parameters()]
    now: Weights = {name: update.before[name].clone().requires_grad_() for name in names}
    fixed = {name: t.clone() for name, t in model.named_buffers() if name not in update.before}
    fixed |= {name: update.before[name].clone() for name, _ in model.named_buffers() if name in update.before}
    total = [torch.zeros_like(now[name]) for name in names]
    for part_x, part_y in zip(x.split(batch), y.split(batch), strict=True):
        loss = view.task.loss(functional_call(model, now | fixed, (part_x,)), part_y)
        slopes = torch.autograd.grad(loss, [now[name] for name in names], create_graph=True)
        total = [t - slope for t, slope in zip(total, slopes, strict=True)]
        if update.optimizer == "sgd":
            now = {name: now[name] - update.lr * slope for name, slope in zip(names, slopes, strict=True)}
    return torch.cat([t.flatten() for t in total])


@torch.no_grad()
def labels(model: nn.Module, view: View, update: Update, n: int) -> tuple[Tensor, list[Tensor]]:
    """(y (n, ...), what of it is to be found with the records): classes are read off the last bias.

    Its slope falls where a class was in the batch, once for each record of it: from the lowest, each label that is
    given takes its share of the fall away. Shares are relative, so a clipped update tells as much.
    """
    if view.task.kind != "classes":
        answer = functional_call(model, update.before, (torch.zeros(2, *view.in_shape),))[:1]
        y = answer.expand(n, *answer.shape[1:]).clone().requires_grad_()
        return y, [y]
    last = [name for name, t in model.named_parameters() if t.shape == (view.classes,)][-1]
    slope = (update.before[last] - update.after[last]).clone()  # (K,) times what the client's optimiser makes of it
    share = slope[slope < 0].sum() * (1 + 1 / view.classes) / n
    found: list[int] = []
    for k in [int(k) for k in slope.argsort() if slope[k] < 0][:n]:
        found.append(k)
        slope[k] -= share
    while len(found) < n:
        found.append(int(slope.argmin()))
        slope[found[-1]] -= share
    return torch.tensor(found), []


def variation(x: Tensor) -> Tensor:
    """(n, C, ...) -> (): mean difference of neighbours, along every axis but the channels'."""
    each = [x.diff(dim=axis).abs().mean() for axis in range(2, x.dim())]
    return torch.stack(each).sum() if each else x.new_zeros(())
