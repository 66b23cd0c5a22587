"""Similarity (Liu et al. 2022): cluster gradients by direction, name clusters by known labels.

The gradient, that of the features (N, *out) in a u-shape, else that of the smashed data (N, *cut), is
W^T (p - onehot y). Its length says how wrong the model still is, its direction which class the label is. Directions
are clustered by spherical k-means, from the hints (a few targets whose labels are known) and from several random
starts. The start with the best k-means objective wins, so a bad hint cannot spoil the clusters. The Hungarian method
assigns clusters to classes by the hints. Guess (N, K): cosines with the centres.

Source: Liu, Lyu, Cui, Tao, "Similarity-based Label Inference Attack against Training and Inference of Split Learning",
arXiv 2203.05222: the attacks by k-means and by the nearest known sample; activations as in inference, where their
distance after normalisation is the same.

Differs from the paper:
- The random starts.
- `spectral` clusters the leading eigenvectors of the cosines (Ng, Jordan, Weiss, NIPS 2001), which evens out what the
  rows of the head's weights have in common. There are K - 1 eigenvectors, because p - onehot y sums to 0.
- Where the defence reverses gradients at random, lines take the place of directions: squared cosines, and K
  eigenvectors (adaptive).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from splitleak.contract import Attack, BadInput, Goal, Grant, View
from splitleak.pieces import leading, lines, only_lines, unit


@dataclass(frozen=True)
class Similarity(Attack):
    """It needs hints, and the gradient or (`activation`) the smashed data, in a u-shape the features."""

    goal = Goal.LABELS
    tasks = ("classes",)

    source: Literal["gradient", "activation"] = "gradient"
    method: Literal["cluster", "nearest"] = "cluster"
    spectral: bool = True  # gradients only; paper: False
    starts: int = 20  # random starts beside the one from the hints; paper: none
    rounds: int = 30  # of Lloyd's algorithm

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        return Grant.HINTS | (Grant.GRADIENT | Grant.DEFENSE if self.source == "gradient" else Grant.SMASHED)

    def run(self, view: View) -> Tensor:
        if view.task.kind != "classes":
            raise BadInput(f"attack 'similarity': the task is a {view.task.kind}; this attack needs a task of classes")
        u, (hints, labels) = unit(self._messages(view).double().flatten(1)), view.hints  # (N, D)
        known = labels.unique()  # C of the K classes have a hint
        reverses = self.source == "gradient" and only_lines(view)
        u = lines(u) if reverses else u
        if self.method == "cluster" and self.source == "gradient" and self.spectral:
            u = leading(u, min(len(u), max(len(known), 2)) - (not reverses))
        means = torch.stack([u[hints[labels == k]].mean(0) for k in known])  # (C, D): mean direction of the hints
        centres = unit(means)
        if self.method == "cluster":
            clusters = self._clusters(u, centres)
            centres = clusters[linear_sum_assignment((-means @ clusters.T).cpu())[1]]
        guess = torch.full((len(u), view.classes), -2.0, dtype=u.dtype, device=u.device)  # no hint: below any cosine
        guess[:, known] = u @ centres.T
        return guess

    def _messages(self, view: View) -> Tensor:
        """(N, *out) in a u-shape, else (N, *cut)."""
        if self.source == "gradient":
            return view.gradient if view.out_shape is None else view.gradient_features
        return view.smashed if view.out_shape is None else view.features

    def _clusters(self, u: Tensor, first: Tensor) -> Tensor:
        """(C, D) unit centres: those of the start with the largest mean cosine of targets (N, D) and their centres."""
        centres = torch.cat([first[None], u[self._spread_starts(u, len(first))]])  # (S, C, D)
        for _ in range(self.rounds):
            nearest = (u @ centres.mT).argmax(2)  # (S, N)
            members = F.one_hot(nearest, len(first)).to(u.dtype)  # (S, N, C)
            sums = members.mT @ u
            centres = torch.where((members.sum(1) > 0)[..., None], unit(sums), centres)
        return centres[(u @ centres.mT).amax(2).mean(1).argmax()]

    def _spread_starts(self, u: Tensor, k: int) -> Tensor:
        """(starts, k) rows of u, spread out as in k-means++ (Arthur and Vassilvitskii 2007): distant rows likelier."""
        chosen = torch.randint(len(u), (self.starts, 1), device=u.device)
        for _ in range(k - 1):
            far = 1 - (u @ u[chosen].mT).amax(2)  # (starts, N)
            chosen = torch.cat([chosen, torch.multinomial(far.clamp(min=1e-9), 1)], 1)
        return chosen
