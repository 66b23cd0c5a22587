"""The best guess without the channel: the mean auxiliary record, the majority class, the likeliest mask, a coin.

The control that stands beside every attack. Where the threat holds the labels, its record is the mean of the class.
Without auxiliary data it knows only the range and the number of classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View


@dataclass(frozen=True)
class Blind(Attack):
    """Guess of any goal, (N, *in), (N, K), masks, values or (N,); reads no message."""

    needs = Grant(0)
    goal: Goal = Goal.INPUTS

    def run(self, view: View) -> Tensor:
        n = view.targets
        if self.goal is Goal.INPUTS:
            return self._records(view)
        if self.goal is not Goal.LABELS:
            return torch.zeros(n)  # a coin: every target scores the same
        if view.task.kind == "classes":
            majority = (
                view.aux_labels.bincount(minlength=view.classes)
                if self._has_labels(view)
                else torch.zeros(view.classes)
            )
            return majority.double().expand(n, -1)
        if self._has_labels(view):
            return view.task.constant(view.aux_labels).expand(n, *view.aux_labels.shape[1:])
        raise RuntimeError("blind of a mask or value needs labelled auxiliary records")

    def _records(self, view: View) -> Tensor:
        n, (low, high) = view.targets, view.in_range
        if Grant.AUX not in view.grants:
            return torch.full((n, *view.in_shape), (low + high) / 2)
        mean = view.aux.double().mean(0)  # (*in)
        if view.task.kind != "classes" or Grant.LABELS not in view.grants or not self._has_labels(view):
            return mean.expand(n, *view.in_shape)
        x, y = view.aux.double(), view.aux_labels
        means = [x[y == k].mean(0) if (y == k).any() else mean for k in range(view.classes)]
        return torch.stack(means)[view.labels]  # (N, *in)

    def _has_labels(self, view: View) -> bool:
        return Grant.AUX_LABELS in view.grants
