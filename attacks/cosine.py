"""Cosine score (Li et al. 2022): compare each gradient with known gradients of each class.

Gradients of one class point in the same direction. The score of a class is the cosine of the target's gradient with
the mean direction of the hints of that class (hints: a few targets whose labels are known). With two classes only the
hints of the positive one are used (class 1, the rare one), as in the paper; with more, those of every class.
The gradient is that of the features (N, *out) in a u-shape, else that of the smashed data (N, *cut). Guess (N, K).

Source: Li et al., "Label Leakage and Protection in Two-party Split Learning", ICLR 2022, section 3, and its hints.

Differs from the paper:
- The paper takes the AUC inside each training batch and averages it. The harness takes it over all targets, on one
  trained model.
- With more than two classes, where the defence reverses gradients at random, the sign of a cosine does not count
  (adaptive). Two classes differ by the sign alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import Attack, BadInput, Goal, Grant, View
from splitleak.pieces import lines, only_lines


@dataclass(frozen=True)
class Cosine(Attack):
    goal = Goal.LABELS
    tasks = ("classes",)
    needs = Grant.GRADIENT | Grant.HINTS | Grant.DEFENSE

    def run(self, view: View) -> Tensor:
        if view.task.kind != "classes":
            raise BadInput(f"attack 'cosine': the task is a {view.task.kind}; this attack needs a task of classes")
        g = (view.gradient if view.out_shape is None else view.gradient_features).double().flatten(1)
        u, (hints, labels) = F.normalize(g, dim=1, eps=1e-300), view.hints  # (N, D)
        if only_lines(view):
            u = lines(u)
        guess = torch.full((len(u), view.classes), -2.0, dtype=u.dtype, device=u.device)  # no hint: below any cosine
        for k in labels.unique():
            guess[:, k] = u @ F.normalize(u[hints[labels == k]].mean(0), dim=0, eps=1e-300)
        if view.classes == 2:
            guess[:, 0] = -guess[:, 1]
        return guess
