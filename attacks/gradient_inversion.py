"""Gradient inversion (Geiping et al. 2020): find records that explain a client's update.

Under federated learning: descend on records until training on them moves the weights in the direction of the client's
update. The cost is the cosine distance of the two directions plus total variation; several local steps are simulated.
Class labels come first: the bias of the last layer shows which classes were in the batch, and how often.
Each update is inverted by itself. Guess (N, *in).

Source: Zhu, Liu and Han, "Deep Leakage from Gradients", NeurIPS 2019. Cosine distance, total variation and several
local steps: Geiping, Bauermeister, Droege and Moeller, "Inverting Gradients - How easy is it to break privacy in
federated learning?", NeurIPS 2020, sections 4 and 6. Labels from the bias: Zhao, Mopuri and Bilen, "iDLG", 2020; how
often each occurs: Wainakh et al., "User-Level Label Leakage from Gradients", 2022.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from splitleak.contract import Attack, Goal, Grant, Update, View

Weights = dict[str, Tensor]
EXACT = 1e-6  # below this cosine distance the records are found: no other start is tried


@dataclass(frozen=True)
class GradientInversion(Attack):
    """Of an update with more than `most` records only `most` are reconstructed."""

    goal = Goal.INPUTS
    needs = Grant.UPDATES | Grant.ARCHITECTURE
    formerly: ClassVar[dict[str, Any]] = {"goal": "inputs", "needs": 32896}  # were parameters, and are in the keys
    iterations: Annotated[int, Field(ge=1)] = 400  # paper: 4800, and more for several local steps
    restarts: Annotated[int, Field(ge=1)] = 2  # paper: 1 to 16; the start with the lowest cost is taken
    lr: Annotated[float, Field(gt=0)] = 0.1  # of signed gradients, in widths of in_range; paper: 0.1
    tv: Annotated[float, Field(ge=0)] = 1e-4  # paper: 1e-1 to 1e-6, by network and data
    most: Annotated[int, Field(ge=1)] = 64  # records of one update that are reconstructed

    def run(self, view: View) -> Tensor:
        low, high = view.in_range
        found = [(update.targets, self._invert(view, update)) for update in view.updates]
        device = found[0][1].device if found else None
        guess = torch.full((view.targets, *view.in_shape), (low + high) / 2, device=device)
        for targets, records in found:
            places = targets.to(device)
            guess[places] = records[torch.arange(len(places), device=device) % len(records)]
        return guess

    def _invert(self, view: View, update: Update) -> Tensor:
        """(n, *in): the records of the start with the lowest cost."""
        model = view.fresh_model().train()
        update = on_device(update, next(model.parameters()).device)
        best = self._descend(model, view, update)
        for _ in range(self.restarts - 1):
            if best[0] > EXACT:
                best = min(best, self._descend(model, view, update), key=lambda result: result[0])
        return best[1]

    def _descend(self, model: nn.Module, view: View, update: Update) -> tuple[float, Tensor]:
        """(cost, records (n, *in)) from one random start, by Adam on the sign of the gradient."""
        low, high = view.in_range
        n, batch = min(update.n, self.most), min(update.n, self.most, update.batch_size)
        sent = torch.cat([(update.after[k] - update.before[k]).flatten() for k, _ in model.named_parameters()])
        y, variables = labels(model, view, update, n)
        x = torch.rand(n, *view.in_shape, device=sent.device).mul(high - low).add(low).requires_grad_()
        optimizer = torch.optim.Adam([x, *variables], self.lr * (high - low))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.iterations)
        for _ in range(self.iterations):
            simulated = simulated_update(model, view, update, x, y, batch)
            cost = 1 - torch.cosine_similarity(simulated, sent, dim=0)
            optimizer.zero_grad()
            (cost + self.tv * total_variation(x)).backward()
            for t in (x, *variables):
                t.grad = None if t.grad is None else t.grad.sign()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                x.clamp_(low, high)
        return cost.item(), x.detach()


def on_device(update: Update, device: torch.device) -> Update:
    """The same update with its weights on the device of the network; what crossed is on the CPU."""
    before, after = ({name: t.to(device) for name, t in sent.items()} for sent in (update.before, update.after))
    return replace(update, before=before, after=after)


def simulated_update(model: nn.Module, view: View, update: Update, x: Tensor, y: Tensor, batch: int) -> Tensor:
    """(P,): how training on these records, in this order and in batches, would move the weights; differentiable.

    With Adam at the client the first step moves each weight by lr times the sign of its gradient. In that case the
    gradients at the round's first weights are summed, and only the direction of the sum is compared.
    """
    names = [name for name, _ in model.named_parameters()]
    weights: Weights = {name: update.before[name].clone().requires_grad_() for name in names}
    buffers = {name: t.clone() for name, t in model.named_buffers() if name not in update.before}
    buffers |= {name: update.before[name].clone() for name, _ in model.named_buffers() if name in update.before}
    total = [torch.zeros_like(weights[name]) for name in names]
    for part_x, part_y in zip(x.split(batch), y.split(batch), strict=True):
        loss = view.task.loss(functional_call(model, weights | buffers, (part_x,)), part_y)
        gradients = torch.autograd.grad(loss, [weights[name] for name in names], create_graph=True)
        total = [t - g for t, g in zip(total, gradients, strict=True)]
        if update.optimizer == "sgd":
            weights = {name: weights[name] - update.lr * g for name, g in zip(names, gradients, strict=True)}
    return torch.cat([t.flatten() for t in total])


@torch.no_grad()
def labels(model: nn.Module, view: View, update: Update, n: int) -> tuple[Tensor, list[Tensor]]:
    """(labels y (n, ...), the tensors of them that are optimised together with the records).

    Classes come from the bias of the last layer. Its gradient is negative for the classes of the batch, and lower the
    more records a class has. The class with the lowest gradient is assigned to one record, and one record's share is
    taken from its gradient; this repeats until every record has a class. Shares are relative, so a clipped update
    reveals the same labels.
    """
    device = next(model.parameters()).device
    if view.task.kind != "classes":
        output = functional_call(model, update.before, (torch.zeros(2, *view.in_shape, device=device),))[:1]
        y = output.expand(n, *output.shape[1:]).clone().requires_grad_()
        return y, [y]
    last = [name for name, t in model.named_parameters() if t.shape == (view.classes,)][-1]
    gradient = (update.before[last] - update.after[last]).cpu()  # (K,) up to the factor of the client's optimiser
    share = gradient[gradient < 0].sum() * (1 + 1 / view.classes) / n
    classes: list[int] = []
    for k in [int(k) for k in gradient.argsort() if gradient[k] < 0][:n]:
        classes.append(k)
        gradient[k] -= share
    while len(classes) < n:
        classes.append(int(gradient.argmin()))
        gradient[classes[-1]] -= share
    return torch.tensor(classes, device=device), []


def total_variation(x: Tensor) -> Tensor:
    """(n, C, ...) -> (): mean absolute difference of neighbours, summed over all axes but the channels."""
    each = [x.diff(dim=axis).abs().mean() for axis in range(2, x.dim())]
    return torch.stack(each).sum() if each else x.new_zeros(())
