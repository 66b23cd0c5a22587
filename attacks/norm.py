"""Gradient norm (Li et al. 2022): rank targets by gradient norm, rare classes first.

The rarer a class, the longer its gradients: the model first predicts the common class and is corrected harder for the
rare one. Targets are ranked by the norm of their gradient, that of the features (N, *out) in a u-shape, else that of
the smashed data (N, *cut). The ranking is cut by the shares of the classes, from the rarest to the most common.
Shares come from labelled auxiliary records where the threat has them. Otherwise they count as equal and the last class
as the rarest (in the datasets `positive` is class 1). The AUC does not depend on the shares. Guess (N, K).

Source: Li et al., "Label Leakage and Protection in Two-party Split Learning", ICLR 2022, section 3.

Differs from the paper:
- The paper has two classes, and the norm alone is the score. More than two classes are new.
- The paper takes the AUC inside each training batch and averages it. The harness takes it over all targets, on the
  gradients of one trained model: not the same number.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitleak.contract import Attack, BadInput, Goal, Grant, View


@dataclass(frozen=True)
class Norm(Attack):
    goal = Goal.LABELS
    tasks = ("classes",)
    needs = Grant.GRADIENT

    def run(self, view: View) -> Tensor:
        if view.task.kind != "classes":
            raise BadInput(f"attack 'norm': the task is a {view.task.kind}; this attack needs a task of classes")
        g = (view.gradient if view.out_shape is None else view.gradient_features).double().flatten(1)
        size = g.norm(dim=1).clamp(min=1e-300).log()  # (N,): the log keeps the ranking and limits the spread
        shares = torch.full((view.classes,), 1 / view.classes, dtype=size.dtype, device=g.device)
        order = torch.arange(view.classes - 1, -1, -1, device=g.device)
        if Grant.AUX_LABELS in view.grants:
            counts = view.aux_labels.bincount(minlength=view.classes)
            shares, order = counts.to(size) / counts.sum(), counts.argsort(stable=True)
        cuts = size.quantile(1 - shares[order].cumsum(0)[:-1].clamp(max=1))  # (K - 1,) thresholds, from long to short
        steps = cuts - size[:, None]  # below 0: longer than the threshold, so of a rarer class
        guess = torch.zeros(len(g), view.classes, dtype=size.dtype, device=g.device)
        guess[:, order[1:]] = steps.cumsum(1)
        return guess
