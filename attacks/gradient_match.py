"""Every label is tried on a surrogate head: the one whose gradient points where the client's did is the label.

Features f (N, *out) and their gradients g (the same shape) in a u-shape, else the smashed data and theirs, give for
each candidate y the direction of (softmax(W f + b) - onehot y) W. In turn: each target takes the label whose direction
has the largest cosine with g, hints keep theirs; W and b take a step that makes these cosines larger. Guess (N, K).

The hints' own gradients seed W: of a record of class y, the gradient leads away from W_y. All gradients of a linear
head lie in the span of W, so both f and g are first projected on the leading directions of g. The surrogate is linear;
under a deeper true head it is an approximation.

Erdogan, Kupcu, Cicek, "UnSplit", WPES 2022, label inference by enumeration (there on a known kind of head, by squared
distance); Kariyappa and Qureshi, "ExPLoit", SaTML 2023, surrogate and labels learned together. New here: cosines
instead of distances, since gradients of a trained model differ in length by 15 orders of magnitude; the seed; no prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import Attack, BadInput, Goal, Grant, View


@dataclass(frozen=True)
class GradientMatch(Attack):
    goal = Goal.LABELS
    needs = Grant.GRADIENT | Grant.SMASHED | Grant.HINTS

    steps: int = 300
    lr: float = 3e-2  # ExPLoit's code: 1e-2

    def run(self, view: View) -> Tensor:
        if view.task.kind != "classes":
            raise BadInput(f"attack 'gradient_match': it tries one class after the other, the task is {view.task.kind}")
        f, u = self.projected(view)
        hints, labels = view.hints
        seeds = [-F.normalize(u[hints[labels == k]].mean(0), dim=0) for k in range(view.classes) if k in labels]
        weight = torch.zeros(view.classes, f.shape[1], dtype=f.dtype, device=f.device)
        weight[labels.unique()] = torch.stack(seeds)
        weight = (weight - weight.mean(0)).requires_grad_()  # (K, R): moving all alike changes no gradient
        bias = torch.zeros_like(weight[:, 0]).requires_grad_()
        optimizer = torch.optim.Adam([weight, bias], self.lr)
        for _ in range(self.steps):
            fit = fits(f, u, weight, bias)
            y = fit.argmax(1).index_copy(0, hints, labels)  # (N,)
            loss = 1 - fit.gather(1, y[:, None]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return fits(f, u, weight, bias)

    def projected(self, view: View) -> tuple[Tensor, Tensor]:
        """Features and unit gradients, (N, R) each, on the leading directions of the gradients: R = K."""
        both = (view.smashed, view.gradient) if view.out_shape is None else (view.features, view.gradient_features)
        f, g = (t.double().flatten(1) for t in both)
        u = unit(g)
        basis = torch.linalg.eigh(u @ u.T).eigenvectors[:, -view.classes :]  # (N, R)
        basis = F.normalize(u.T @ basis, dim=0)  # (D, R): the right singular vectors
        f, u = f @ basis, unit(u @ basis)
        return (f - f.mean(0)) / f.std().clamp(min=1e-12), u


def fits(f: Tensor, u: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(N, K): the cosine of each target's gradient with what every label would give."""
    error = F.softmax(f @ weight.T + bias, 1)[:, None] - torch.eye(len(weight), dtype=f.dtype, device=f.device)
    return F.cosine_similarity(error @ weight, u[:, None], dim=2, eps=1e-20)  # error (N, K candidates, K)


def unit(x: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros stays one."""
    x = x / x.abs().amax(-1, keepdim=True).clamp(min=1e-300)  # first, for the squares of the shortest
    return F.normalize(x, dim=-1, eps=1e-300)
