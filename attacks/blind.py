"""Blind guess (baseline): the best guess without the channel, e.g. the mean auxiliary record.

The baseline beside every attack; it reads no message. Records: the mean auxiliary record, or the mean of the target's
class where the threat holds the labels; for records that were sent together as many centroids of the auxiliary records
(Lloyd 1982), or noise with their covariance. Labels: the majority class (any class if there is clearly none), the mask
that overlaps the auxiliary masks most, or the mean value; the label of the nearest auxiliary records where the threat
holds the records; for labels that were sent together the class mix. Property and membership: the same score for every
target. Linkage: the same embedding.
Without auxiliary data it knows only the range of the records and the number of classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View
from splitleak.pieces import blind_guess


@dataclass(frozen=True)
class Blind(Attack):
    """Guess (N, *in), (N, K), masks, values, scores (N,) or embeddings (N, 1), by goal."""

    needs = Grant(0)
    goal: Goal = Goal.INPUTS

    def run(self, view: View) -> Tensor:
        if self.goal is Goal.INPUTS:
            return self._records(view)
        if self.goal is Goal.LINKAGE:
            return torch.zeros(view.targets, 1)  # every pair has the same cosine
        if self.goal is not Goal.LABELS:
            return torch.zeros(view.targets)  # every target has the same score
        return self._labels(view)

    def _records(self, view: View) -> Tensor:
        n, (low, high) = view.targets, view.in_range
        if Grant.AUX not in view.grants:
            return torch.full((n, *view.in_shape), (low + high) / 2)
        if view.sets is not None:
            return blind_guess.best_for_sets(view.aux, view.sets)
        x = view.aux.double()
        if view.task.kind == "classes" and (Grant.LABELS | Grant.AUX_LABELS) in view.grants:
            return blind_guess.class_means(x, view.aux_labels, view.labels, view.classes)
        return x.mean(0).expand(n, *view.in_shape)

    def _labels(self, view: View) -> Tensor:
        n, classes = view.targets, view.task.kind == "classes"
        if Grant.AUX_LABELS not in view.grants:
            if classes:
                return torch.zeros(n, view.classes)
            raise RuntimeError(
                "attack 'blind': to guess a mask or a value it needs labelled auxiliary records; set `aux`"
            )
        if (Grant.INPUTS | Grant.AUX) in view.grants:
            return blind_guess.labels_of_nearest(view.inputs, view.aux, view.aux_labels, view.task)
        if not classes:
            return view.task.constant(view.aux_labels).expand(n, *view.aux_labels.shape[1:])
        if view.sets is not None:
            return blind_guess.class_mix(view.aux_labels, view.sets, view.classes)
        return blind_guess.majority(view.aux_labels, view.classes).expand(n, -1)
