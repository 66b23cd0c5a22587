"""Noisy labels (Patrini et al. 2017, on clusters of Liu et al. 2022): learn the labels behind randomly flipped ones.

Where a defence flips labels at random, the gradient of a record shows the flipped label. But a flip depends on nothing
that can be seen in the record, so among similar records the true label has the majority. The clusters of `similarity`
are labels with known errors: the attack sends made-up labels through the defence and counts how often each class comes
back as another. A linear classifier of the features (N, *out), in a u-shape, else of the smashed data (N, *cut), is
fitted so that its output, passed through the matrix T of these errors, explains the clusters. Cross-validation on the
clusters chooses the weight decay. The hints name the clusters (Hungarian method) by what the classifier says of them,
because the gradient of a hint may show a flipped label too. Guess (N, K): log-probabilities.

Source: Patrini et al., "Making Deep Neural Networks Robust to Label Noise", CVPR 2017, section 4 (forward correction);
Liu, Lyu, Cui, Tao, arXiv 2203.05222 (clusters of gradients as labels; hints).

Differs from the papers:
- The labels are clusters, which have errors of their own: T counts one in ten (`slips`) as any class, even if no label
  is flipped. Before the clusters have names, T has one rate of errors for all classes.
- A second fit also learns from the hints, as labels without errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from splitleak.attacks.similarity import Similarity
from splitleak.contract import Attack, BadInput, Bottom, Goal, Grant, Records, Split, View
from splitleak.pieces import leading, lines, only_lines, unit

DECAYS = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)  # weight decays that cross-validation chooses from
PROBES = 1000  # made-up labels of each class that are sent through the defence


@dataclass(frozen=True)
class NoisyLabels(Attack):
    """It needs hints, gradients, features, and the algorithm of the defence, which every attacker knows."""

    goal = Goal.LABELS
    needs = Grant.GRADIENT | Grant.SMASHED | Grant.HINTS | Grant.DEFENSE
    tasks = ("classes",)

    slips: Annotated[float, Field(gt=0, lt=0.5)] = 0.1  # share of the clusters that is wrong without any defence
    folds: Annotated[int, Field(ge=2, le=10)] = 3

    def run(self, view: View) -> Tensor:
        if view.task.kind != "classes":
            raise BadInput(
                f"attack 'noisy_labels': the task is a {view.task.kind}; this attack needs a task of classes"
            )
        f, g = (view.smashed, view.gradient) if view.out_shape is None else (view.features, view.gradient_features)
        x, (hints, labels) = standardised(f.double().flatten(1)), view.hints  # (N, D + 1)
        known, y = labels.unique(return_inverse=True)  # C of the K classes have a hint; y: 0 to C - 1
        guess = torch.full((len(x), view.classes), -1e4, dtype=x.dtype, device=x.device)  # no hint: below all others
        if len(known) == 1:
            guess[:, known] = 0.0
            return guess
        noise = self._noise(view)[known][:, known].to(x)  # (C true, C seen)
        clusters = clusters_of(g, len(known), only_lines(view))
        even = evened(noise)[:, clusters].T  # (N, C): the probability of each record's cluster, by true class
        decay = self._chosen_decay(x, even)
        names = names_of(F.log_softmax(x @ fitted(x, even, decay).T, 1), hints, y)
        rows = noise[:, names.argsort()[clusters]].T  # the same by the full matrix, now that clusters have names
        rows = rows.index_copy(0, hints, F.one_hot(y, len(known)).to(x).clamp(min=1e-3))
        guess[:, known] = F.log_softmax(x @ fitted(x, rows, decay).T, 1).clamp(min=-1e3)
        return guess

    def _noise(self, view: View) -> Tensor:
        """(K true, K seen): the flips of the defence, then the errors of the clusters, which go anywhere."""
        flips = flips_of(view, PROBES)
        return (1 - self.slips) * flips + self.slips / view.classes

    def _chosen_decay(self, x: Tensor, rows: Tensor) -> float:
        """The decay whose classifiers explain best the clusters that they have not seen."""
        fold = torch.randperm(len(x), device=x.device) % self.folds

        def error(decay: float) -> float:
            held = [(fitted(x[fold != k], rows[fold != k], decay), fold == k) for k in range(self.folds)]
            return sum(float(misfit(x[out], rows[out], weight)) * int(out.sum()) for weight, out in held)

        return min(DECAYS, key=error)


def flips_of(view: View, each: int) -> Tensor:
    """(K true, K sent): what the defence makes of `each` made-up labels of a class, under a key of the attacker's."""
    k, n = view.classes, each * view.classes
    network = Split(Bottom(nn.Identity()), nn.Sequential(nn.Flatten(), nn.Linear(prod(view.in_shape), k)))
    live = view.defense.begin(network.measure(view.in_shape, view.in_range), 0)
    y, x = torch.arange(n) % k, torch.zeros(1, *view.in_shape).expand(n, *view.in_shape)
    sent = live.labels(Records(x, y, torch.arange(n)))
    return F.one_hot(y * k + sent, k * k).sum(0).view(k, k).double() / each


def evened(noise: Tensor) -> Tensor:
    """The same share of errors, spread evenly: before clusters have names, no error can be told from another."""
    c = len(noise)
    kept = max(float(noise.diagonal().mean() / noise.sum(1).mean()), 1 / c + 1e-3)  # at chance nothing can be learned
    return torch.full_like(noise, (1 - kept) / (c - 1)).fill_diagonal_(kept)


def clusters_of(g: Tensor, c: int, reverses: bool) -> Tensor:
    """(N,): the cluster of each gradient, as the spectral `similarity` finds them, from random starts alone."""
    similarity, u = Similarity(), unit(g.double().flatten(1))
    u = leading(lines(u), c) if reverses else leading(u, c - 1)
    first = unit(u[torch.randint(len(u), (c,), device=u.device)])
    return (u @ similarity._clusters(u, first).T).argmax(1)


def names_of(p: Tensor, hints: Tensor, y: Tensor) -> Tensor:
    """(C,): the cluster of each class, by the classifier's log-probabilities p (N, C) of the hints of class y."""
    votes = torch.stack([p[hints[y == k]].mean(0) for k in range(p.shape[1])])  # (C classes, C clusters)
    return torch.as_tensor(linear_sum_assignment(-votes.cpu())[1], device=p.device)


def standardised(f: Tensor) -> Tensor:
    """(N, D + 1): mean 0 and length about 1, and a column of ones."""
    f = (f - f.mean(0)) / f.std(0).clamp(min=1e-6) / f.shape[1] ** 0.5
    return torch.cat([f, torch.ones_like(f[:, :1])], 1)


def fitted(x: Tensor, rows: Tensor, decay: float) -> Tensor:
    """(C, D + 1): weights of the classifier with the least misfit and weight decay."""
    weight = torch.zeros(rows.shape[1], x.shape[1], dtype=x.dtype, device=x.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight], max_iter=60, tolerance_grad=1e-5, tolerance_change=1e-6, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = misfit(x, rows, weight) + decay * weight[:, :-1].square().sum() / 2
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach()


def misfit(x: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """(): the mean of -log sum_k P(cluster | k) p_k(x)."""
    return -(F.softmax(x @ weight.T, 1) * rows).sum(1).clamp(min=1e-30).log().mean()
