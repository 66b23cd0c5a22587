"""Gradient matching (ExPLoit 2023, UnSplit 2022): find the labels that explain the gradients.

A linear surrogate head (W, b) on features f (N, *out) predicts the gradient of each candidate label y: its direction
is (softmax(W f + b) - onehot y) W. Two steps alternate: each target takes the label whose predicted direction has the
largest cosine with its gradient g (hints keep their known labels); W and b take a step that makes these cosines
larger. In a u-shape f and g are the features and their gradients, else the smashed data and theirs. Guess (N, K).
The hints' gradients initialise W, because the gradient of a record of class y points away from W_y. All gradients of a
linear head lie in the span of W, so f and g are first projected on the leading directions of g. If the true head has
more layers, the linear surrogate is an approximation.

Source: Kariyappa and Qureshi, "ExPLoit", SaTML 2023 (surrogate and labels learned together); Erdogan, Kupcu, Cicek,
"UnSplit", WPES 2022 (label inference by enumeration, on a head of known form, by squared distance).

Differs from the papers:
- Cosines take the place of distances, because gradients of a trained model differ in length by 15 orders of magnitude.
- The hints initialise W.
- There is no prior on the labels.
- Where the defence reverses gradients at random, the sign of a cosine does not count (adaptive).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import Attack, BadInput, Goal, Grant, View
from splitleak.pieces import only_lines, unit


@dataclass(frozen=True)
class GradientMatch(Attack):
    goal = Goal.LABELS
    tasks = ("classes",)
    needs = Grant.GRADIENT | Grant.SMASHED | Grant.HINTS | Grant.DEFENSE

    steps: int = 300
    lr: float = 3e-2  # ExPLoit's code: 1e-2

    def run(self, view: View) -> Tensor:
        if view.task.kind != "classes":
            raise BadInput(
                f"attack 'gradient_match': the task is a {view.task.kind}; this attack needs a task of classes"
            )
        f, u = self._projected(view)
        (hints, labels), reverses = view.hints, only_lines(view)
        known = [hints[labels == k] for k in range(view.classes) if k in labels]
        starts = [-direction(u[h], f[h], reverses) for h in known]
        weight = torch.zeros(view.classes, f.shape[1], dtype=f.dtype, device=f.device)
        weight[labels.unique()] = torch.stack(starts)
        weight = (weight - weight.mean(0)).requires_grad_()  # (K, R): a shift of all rows changes no gradient
        bias = torch.zeros_like(weight[:, 0]).requires_grad_()
        optimizer = torch.optim.Adam([weight, bias], self.lr)
        for _ in range(self.steps):
            cosines = cosines_of_labels(f, u, weight, bias, reverses)
            y = cosines.argmax(1).index_copy(0, hints, labels)  # (N,)
            loss = 1 - cosines.gather(1, y[:, None]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return cosines_of_labels(f, u, weight, bias, reverses)

    def _projected(self, view: View) -> tuple[Tensor, Tensor]:
        """Features and unit gradients, (N, R) each, on the leading directions of the gradients: R = K."""
        both = (view.smashed, view.gradient) if view.out_shape is None else (view.features, view.gradient_features)
        f, g = (t.double().flatten(1) for t in both)
        u = unit(g)
        basis = torch.linalg.eigh(u @ u.T).eigenvectors[:, -view.classes :]  # (N, R)
        basis = F.normalize(u.T @ basis, dim=0)  # (D, R): the right singular vectors
        f, u = f @ basis, unit(u @ basis)
        return (f - f.mean(0)) / f.std().clamp(min=1e-12), u


def direction(u: Tensor, f: Tensor, reverses: bool) -> Tensor:
    """(R,): the mean direction of the gradients u (n, R) of one class.

    Reversed ones are turned to one side: away from the features f (n, R), which a trained head has on the side of W_y.
    """
    if reverses:
        u = u * (u @ u[0]).sign()[:, None]
        u = -u * (u.mean(0) @ f.mean(0)).sign()
    return F.normalize(u.mean(0), dim=0)


def cosines_of_labels(f: Tensor, u: Tensor, weight: Tensor, bias: Tensor, reverses: bool) -> Tensor:
    """(N, K): the cosine of each target's gradient u (N, R) with the one that each label would give.

    Its size, where gradients are reversed at random.
    """
    error = F.softmax(f @ weight.T + bias, 1)[:, None] - torch.eye(len(weight), dtype=f.dtype, device=f.device)
    cosines = F.cosine_similarity(error @ weight, u[:, None], dim=2, eps=1e-20)  # error (N, K candidates, K)
    return cosines.abs() if reverses else cosines
