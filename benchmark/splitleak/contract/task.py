"""The task of a model, and the loss that trains it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

Objective = Literal["own", "bce", "dice", "bce_dice"]  # the training loss: the usual one of the task, or one for masks


@dataclass(frozen=True)
class Task:
    """What the model predicts: one of K classes, a mask, or D values; and the loss that trains it."""

    kind: Literal["classes", "mask", "value"]
    size: int  # K classes, D values, or 1 for a mask
    objective: Objective = "own"  # the harness sets it from `[train] loss`; a dataset leaves it alone

    def constant(self, y: Tensor) -> Tensor:
        """The constant answer that fits y best: a class (), a mask (1, H, W) of 0 and 1, or values (D,).

        The mask is the mean mask, cut at the level of the best overlap. Cut at one half it may be empty, and then
        any other constant beats it.
        """
        if self.kind == "classes":
            return y.bincount(minlength=self.size).argmax()
        mean = y.double().mean(0)
        if self.kind == "value":
            return mean
        truth, cuts = y > 0.5, [mean > level for level in torch.arange(0.05, 1, 0.05)]
        best: Tensor = max(cuts, key=lambda cut: _overlap(cut, truth))
        return best.double()

    def loss(self, prediction: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
        """The loss of a batch: the mean, or with reduction "sum" the sum, of the losses of its records; shape ().

        "own" is cross-entropy of logits (B, K), squared error of values, and binary cross-entropy plus Dice of mask
        logits, as is usual for a U-Net. Masks in y may be soft.
        """
        if self.kind == "classes":
            return F.cross_entropy(prediction, y, reduction=reduction)
        y = y.to(prediction.dtype)
        if self.kind == "value":
            return _pointwise(F.mse_loss, prediction, y, reduction)
        if self.objective == "dice":
            return _dice(prediction, y, reduction)
        loss = _pointwise(F.binary_cross_entropy_with_logits, prediction, y, reduction)
        return loss if self.objective == "bce" else loss + _dice(prediction, y, reduction)


def _pointwise(per: Callable[..., Tensor], prediction: Tensor, y: Tensor, reduction: str) -> Tensor:
    """Mean over the elements of a record. A sum goes record by record: no gradient depends on the batch's size."""
    if reduction == "mean":
        return per(prediction, y)
    return per(prediction, y, reduction="none").flatten(1).mean(1).sum()


def _dice(logits: Tensor, y: Tensor, reduction: str) -> Tensor:
    """Soft Dice loss of probabilities, a record at a time: 1 - (2 sum py + 1) / (sum p + sum y + 1)."""
    p, y = logits.sigmoid().flatten(1), y.flatten(1)
    each = 1 - (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)  # (B,)
    return each.mean() if reduction == "mean" else each.sum()


def _overlap(mask: Tensor, truth: Tensor) -> float:
    """Mean intersection over union of one mask (1, H, W) with many (n, 1, H, W)."""
    both, either = (mask & truth).flatten(1).sum(1), (mask | truth).flatten(1).sum(1)
    return float((both / either.clamp(min=1)).mean())
