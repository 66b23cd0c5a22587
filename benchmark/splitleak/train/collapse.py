"""Whether training ended at a constant answer: the mean task loss of its epochs against that of the best constant."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from splitleak.contract import Task

LEARNED = 0.02  # the share of the constant's loss that has to be gained, or nothing was learned


@torch.no_grad()
def constant_loss(y: Tensor, task: Task) -> float:
    """The task's loss when every record is answered with what is true of all: shares of classes, mean mask or values.

    Of labels (n, ...) as they were trained on: a defence that changes labels changes what a constant can reach.
    """
    if task.kind == "classes":
        constant = (y.bincount(minlength=task.size) / len(y)).clamp(min=1e-12).log()
    else:
        constant = y.double().mean(0)
        constant = constant.logit(1e-6).float() if task.kind == "mask" else constant.float()
    losses = [float(task.loss(constant.expand(len(p), *constant.shape), p)) * len(p) for p in y.split(256)]
    return sum(losses) / len(y)


def collapsed_at(losses: Sequence[float], constant: float) -> int | None:
    """The epoch, from 0, from which on no epoch's loss was below the constant's; None: the last one's was."""
    flat = [loss >= (1 - LEARNED) * constant for loss in losses]
    if not flat or not flat[-1]:
        return None
    return max((epoch + 1 for epoch, is_flat in enumerate(flat) if not is_flat), default=0)
