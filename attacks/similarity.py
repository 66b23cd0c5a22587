"""Gradients of one class point the same way, so they cluster: k clusters, each named by a known target or two.

The gradient (N, *out) of the features in a u-shape, else (N, *cut) of the smashed data, is W^T (p - onehot y): its
length says how wrong the model still is, its direction which class was meant. Directions are clustered by spherical
k-means, from the hints and from several drawn starts; the start is kept that k-means itself likes best, so a bad hint
cannot spoil the clusters; the Hungarian assignment of clusters to classes follows the hints. Guess (N, K), cosines.

Liu, Lyu, Cui, Tao, "Similarity-based Label Inference Attack against Training and Inference of Split Learning",
arXiv 2203.05222: the attacks by k-means and by the nearest known sample; activations as in inference, where
their distance after normalisation is the same. Beyond the paper: the drawn starts, and `spectral`, which clusters the
leading eigenvectors of the cosines (Ng, Jordan, Weiss, NIPS 2001): it evens out what the head's weights have in
common. There are K - 1 of them, because p - onehot y sums to 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from splitleak.contract import Attack, BadInput, Goal, Grant, View


@dataclass(frozen=True)
class Similarity(Attack):
    """Needs the gradient or, as `activation`, what crossed upwards or (u-shape) came down as features; and hints."""

    goal = Goal.LABELS

    source: Literal["gradient", "activation"] = "gradient"
    method: Literal["cluster", "nearest"] = "cluster"
    spectral: bool = True  # gradients only; paper: False
    starts: int = 20  # drawn, beside the hints' own; paper: none
    rounds: int = 30  # of Lloyd

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        return Grant.HINTS | (Grant.GRADIENT if self.source == "gradient" else Grant.SMASHED)

    def run(self, view: View) -> Tensor:
        if view.task.kind != "classes":
            raise BadInput(f"attack 'similarity': clusters stand for classes, and the task is a {view.task.kind}")
        u, (hints, labels) = unit(self.messages(view).double().flatten(1)), view.hints  # (N, D)
        known = labels.unique()  # C of the K classes
        if self.method == "cluster" and self.source == "gradient" and self.spectral:
            u = unit(torch.linalg.eigh(u @ u.T).eigenvectors[:, 1 - min(len(u), max(len(known), 2)) :])
        named = torch.stack([u[hints[labels == k]].mean(0) for k in known])  # (C, D): what the hints say
        centres = unit(named)
        if self.method == "cluster":
            found = self.clusters(u, centres)
            centres = found[linear_sum_assignment((-named @ found.T).cpu())[1]]
        guess = torch.full((len(u), view.classes), -2.0, dtype=u.dtype, device=u.device)  # never seen: below any cosine
        guess[:, known] = u @ centres.T
        return guess

    def messages(self, view: View) -> Tensor:
        """(N, *out) in a u-shape, else (N, *cut)."""
        if self.source == "gradient":
            return view.gradient if view.out_shape is None else view.gradient_features
        return view.smashed if view.out_shape is None else view.features

    def clusters(self, u: Tensor, seeds: Tensor) -> Tensor:
        """(C, D) unit centres: of all starts the ones to which the targets (N, D) are nearest on average."""
        centres = torch.cat([seeds[None], u[self.drawn(u, len(seeds))]])  # (S, C, D)
        for _ in range(self.rounds):
            own = (u @ centres.mT).argmax(2)  # (S, N)
            members = F.one_hot(own, len(seeds)).to(u.dtype)  # (S, N, C)
            sums = members.mT @ u
            centres = torch.where((members.sum(1) > 0)[..., None], unit(sums), centres)
        return centres[(u @ centres.mT).amax(2).mean(1).argmax()]

    def drawn(self, u: Tensor, k: int) -> Tensor:
        """(starts, k) positions spread out as by k-means++ (Arthur and Vassilvitskii 2007): far ones more likely."""
        chosen = torch.randint(len(u), (self.starts, 1), device=u.device)
        for _ in range(k - 1):
            far = 1 - (u @ u[chosen].mT).amax(2)  # (starts, N)
            chosen = torch.cat([chosen, torch.multinomial(far.clamp(min=1e-9), 1)], 1)
        return chosen


def unit(x: Tensor) -> Tensor:
    """Rows of length 1; gradients of a trained model are as short as 1e-17, and a row of zeros stays one."""
    x = x / x.abs().amax(-1, keepdim=True).clamp(min=1e-300)  # first, for the squares of the shortest
    return F.normalize(x, dim=-1, eps=1e-300)
