"""The rarer a class, the longer its gradients: the model starts out sure of the common one and is corrected harder.

Targets are ranked by the norm of their gradient, (N, *out) of the features in a u-shape, else (N, *cut) of the smashed
data, and the ranking is cut where the classes' shares say, from the rarest to the most common. Guess (N, K).

Li et al., "Label Leakage and Protection in Two-party Split Learning", ICLR 2022, section 3: two classes, the score is
the norm alone. Shares come from labelled auxiliary records where the threat has them; else they count as equal and the
last class as the rarest (the datasets' `positive` is 1); AUC does not depend on shares. More than two classes are new
here. The paper's AUC is taken inside each batch of the training and averaged; the harness's is over all targets, on the
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
    needs = Grant.GRADIENT

    def run(self, view: View) -> Tensor:
        if view.task.kind != "classes":
            raise BadInput(f"attack 'norm': it tells rare classes from common ones, and the task is a {view.task.kind}")
        g = (view.gradient if view.out_shape is None else view.gradient_features).double().flatten(1)
        size = g.norm(dim=1).clamp(min=1e-300).log()  # (N,): the same ranking, without its huge spread
        shares = torch.full((view.classes,), 1 / view.classes, dtype=size.dtype, device=g.device)
        order = torch.arange(view.classes - 1, -1, -1, device=g.device)
        if Grant.AUX_LABELS in view.grants:
            counts = view.aux_labels.bincount(minlength=view.classes)
            shares, order = counts.to(size) / counts.sum(), counts.argsort(stable=True)
        cuts = size.quantile(1 - shares[order].cumsum(0)[:-1].clamp(max=1))  # (K - 1,) from long to short
        steps = cuts - size[:, None]  # below 0: longer than the cut, so of one of the rarer classes
        guess = torch.zeros(len(g), view.classes, dtype=size.dtype, device=g.device)
        guess[:, order[1:]] = steps.cumsum(1)
        return guess
