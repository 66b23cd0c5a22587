"""Whether a training collapsed: the loss of its epochs is compared with the loss of the best constant answer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from splitleak.contract import Task

LEARNED = 0.02  # a training that gains less than this share of the constant's loss has learned nothing


@torch.no_grad()
def constant_loss(y: Tensor, task: Task) -> float:
    """The loss of the best constant answer: the shares of the classes, the mean mask, or the mean values.

    y (n, ...) are the labels that the training used: a defence that changes labels changes this loss.
    """
    if task.kind == "classes":
        constant = (y.bincount(minlength=task.size) / len(y)).clamp(min=1e-12).log()
    else:
        constant = y.double().mean(0)
        constant = constant.logit(1e-6).float() if task.kind == "mask" else constant.float()
    losses = [float(task.loss(constant.expand(len(p), *constant.shape), p)) * len(p) for p in y.split(256)]
    return sum(losses) / len(y)


def collapsed_at(losses: Sequence[float], constant: float) -> int | None:
    """The epoch, from 0, from which on no loss is below the constant's; None if the last loss is below it."""
    flat = [loss >= (1 - LEARNED) * constant for loss in losses]
    if not flat or not flat[-1]:
        return None
    return max((epoch + 1 for epoch, is_flat in enumerate(flat) if not is_flat), default=0)
