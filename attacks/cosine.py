"""Gradients of one class point the same way: a target is of the class whose known gradients it is turned towards.

The cosine of each target's gradient, (N, *out) of the features in a u-shape, else (N, *cut) of the smashed data, with
the mean direction of a class's hints. Of two classes only the positive one's (1, the rare one) hints are used, as in
the paper; of more, every class's own. Guess (N, K).

Li et al., "Label Leakage and Protection in Two-party Split Learning", ICLR 2022, section 3, and its hints. The paper's
AUC is taken inside each batch of the training and averaged; the harness's is over all targets, on one trained model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import Attack, BadInput, Goal, Grant, View


@dataclass(frozen=True)
class Cosine(Attack):
    goal = Goal.LABELS
    needs = Grant.GRADIENT | Grant.HINTS

    def run(self, view: View) -> Tensor:
        if view.task.kind != "classes":
            raise BadInput(f"attack 'cosine': its hints stand for classes, and the task is a {view.task.kind}")
        g = (view.gradient if view.out_shape is None else view.gradient_features).double().flatten(1)
        u, (hints, labels) = F.normalize(g, dim=1, eps=1e-300), view.hints  # (N, D)
        guess = torch.full((len(u), view.classes), -2.0, dtype=u.dtype, device=u.device)  # no hint: below any cosine
        for k in labels.unique():
            guess[:, k] = u @ F.normalize(u[hints[labels == k]].mean(0), dim=0, eps=1e-300)
        if view.classes == 2:
            guess[:, 0] = -guess[:, 1]
        return guess
