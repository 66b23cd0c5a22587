"""One training step: the loss is checked, its gradient taken, and the weights move."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from splitleak.contract import Diverged, Parameters, Task
from splitleak.plan.settings import Train


def whole_step(
    network: nn.Module, task: Task, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], where: str,
    penalty: Tensor | None = None,
) -> float:  # fmt: skip
    """One step of a network in one piece on (x, y); returns the task's loss, which must be finite."""
    x, y = batch
    optimizer.zero_grad()
    loss = task.loss(network(x), y)
    value = finite(loss, where)
    (loss if penalty is None else loss + penalty).backward()
    optimizer.step()
    return value


def finite(loss: Tensor | float, where: str) -> float:
    """The loss as a number, or Diverged."""
    value = loss.item() if isinstance(loss, Tensor) else loss
    if not math.isfinite(value):
        raise Diverged(f"the training loss is no number any more, {where}")
    return value


def make_optimizer(settings: Train) -> Callable[[Parameters], torch.optim.Optimizer]:
    """The constructor of the optimiser that `[train]` names; fused, because each party of a split calls it."""
    if settings.optimizer == "adam":
        return lambda params: torch.optim.Adam(params, lr=settings.lr, fused=True)
    return lambda params: torch.optim.SGD(params, lr=settings.lr, momentum=settings.momentum, fused=True)


def set_rate(optimizers: Iterable[torch.optim.Optimizer], settings: Train, epoch: int) -> None:
    """Set the learning rate of this epoch, counted from 0."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * rate_factor(settings, epoch)


def rate_factor(settings: Train, epoch: int) -> float:
    """The share of `lr` that the schedule leaves in this epoch."""
    if settings.schedule == "constant":
        return 1.0
    epoch = min(epoch, settings.epochs - 1)  # a hijacker that goes on still needs a client that moves
    return 0.5 * (1 + math.cos(math.pi * epoch / settings.epochs))
