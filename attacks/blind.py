"""Blind guess (baseline): the best guess without the channel, e.g. the mean auxiliary record.

The baseline beside every attack; it reads no message. Records: the mean auxiliary record, or the mean of the target's
class where the threat holds the labels. Labels: the majority class, the mask that overlaps the auxiliary masks most,
or the mean value. Property and membership: the same score for every target.
Without auxiliary data it knows only the range of the records and the number of classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View


@dataclass(frozen=True)
class Blind(Attack):
    """Guess (N, *in), (N, K), masks, values or scores (N,), by goal."""

    needs = Grant(0)
    goal: Goal = Goal.INPUTS

    def run(self, view: View) -> Tensor:
        n = view.targets
        if self.goal is Goal.INPUTS:
            return self._records(view)
        if self.goal is not Goal.LABELS:
            return torch.zeros(n)  # every target has the same score
        if view.task.kind == "classes":
            majority = (
                view.aux_labels.bincount(minlength=view.classes)
                if self._has_labels(view)
                else torch.zeros(view.classes)
            )
            return majority.double().expand(n, -1)
        if self._has_labels(view):
            return view.task.constant(view.aux_labels).expand(n, *view.aux_labels.shape[1:])
        raise RuntimeError("attack 'blind': the guess of a mask or a value needs labelled auxiliary records; set `aux`")

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
