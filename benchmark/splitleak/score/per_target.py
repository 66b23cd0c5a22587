"""What each target adds to a mean score. Pure functions; letters as in `contract`, sums in double precision on the CPU.

Whatever cannot be scored raises BadInput (the truth) or BadGuess (the guess); nothing here returns NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from splitleak.contract import BadGuess, BadInput
from splitleak.score.similarity import CHUNK, check_finite, checked, plain

NOTHING = "the floor's guess is already perfect on these targets: there is nothing to reconstruct"


@dataclass(frozen=True)
class PerTarget:
    """What each target adds to a mean score. The advantage of any sample of the targets follows from it."""

    guess: Tensor  # (N,) squared error, hit or overlap of the guess
    floor: Tensor  # (N,) the same of the floor's guess
    best: float  # a perfect guess: 0 for an error, 1 for a hit

    def advantage(self) -> float:
        """(guess - floor) / (best - floor) of the means, written so that the guess of the floor gets exactly 0."""
        floor = float(self.floor.mean())
        if floor == self.best:
            raise BadInput(NOTHING)
        return 1 - (self.best - float(self.guess.mean())) / (self.best - floor)


def errors(guess: Tensor, truth: Tensor, floor: Tensor) -> PerTarget:
    """The mean squared error of each record; guess and truth (N, ...), floor the same or without the N."""
    guess, truth, floor = checked(guess, truth), plain(truth), plain(floor)
    if not truth.isfinite().all() or not floor.isfinite().all():
        raise BadInput("truth and floor must be finite numbers")
    return PerTarget(_record_mse(guess, truth), _record_mse(floor.expand_as(truth), truth), 0)


def hits(scores: Tensor, labels: Tensor, floor: int | Tensor) -> PerTarget:
    """Whether the label has the best score. If k classes share the best score, each counts 1 / k.

    floor: one class for all targets, or scores (N, K).
    """
    scores, labels = plain(scores), plain(labels)
    if scores.dim() != 2 or scores.shape[:1] != labels.shape or not len(labels):
        raise BadGuess(f"guess has shape {tuple(scores.shape)}, must be (N, K) for labels {tuple(labels.shape)}")
    check_finite(scores)
    if labels.is_floating_point() or labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise BadInput(f"labels must be integers in 0..{scores.shape[1] - 1}")
    of_floor = (labels == floor).double() if isinstance(floor, int) else hit(plain(floor), labels)
    return PerTarget(hit(scores, labels), of_floor, 1)


def overlaps(probabilities: Tensor, truth: Tensor, floor_mask: Tensor) -> PerTarget:
    """The intersection over union of each record at level 0.5; 1 if guess and truth are both empty."""
    probabilities, truth, floor_mask = checked(probabilities, truth), plain(truth), plain(floor_mask)
    check_range(probabilities, (0, 1), "guess", BadGuess)
    check_range(floor_mask, (0, 1), "floor", BadInput)
    if not ((truth == 0) | (truth == 1)).all():
        raise BadInput("truth: masks must be 0 or 1")
    cut = truth > 0.5
    return PerTarget(iou(probabilities > 0.5, cut), iou((floor_mask > 0.5).expand_as(cut), cut), 1)


def placements(guess: Tensor, truth: Tensor) -> PerTarget:
    """What each target adds to the AUC (DeLong et al. 1988), which is their mean; guess (N,), truth (N,) 0 or 1."""
    place, positive = _place(guess, truth)
    area = place[positive].mean()
    share = np.where(positive, positive.mean(), 1 - positive.mean())
    shares = torch.from_numpy(area + (place - area) / share)
    return PerTarget(shares, torch.full_like(shares, 0.5), 1)


def same_for_all(area: float, n: int) -> PerTarget:
    """An AUC over pairs as the share of each of n targets: their mean is right, an interval over them has no sense."""
    return PerTarget(torch.full((n,), area, dtype=torch.double), torch.full((n,), 0.5, dtype=torch.double), 1)


def auc(guess: Tensor, truth: Tensor) -> float:
    """Area under the ROC curve: how likely a random positive scores above a random negative; ties count half."""
    place, positive = _place(guess, truth)
    return float(place[positive].mean())


def tpr_at_fpr(guess: Tensor, truth: Tensor, fpr: float) -> float:
    """True positive rate at the lowest threshold that at most a share `fpr` of the negatives exceeds."""
    score, positive = _yes_no(guess, truth)
    no = np.sort(score[~positive])[::-1]
    return float((score[positive] > no[int(fpr * len(no) + 1e-9)]).mean())


def clopper_pearson(share: float, n: int) -> tuple[float, float]:
    """Limits of the exact 95 % interval of a share of n (Clopper and Pearson 1934); 0 or 1 where the share is that."""
    from scipy.special import betaincinv

    k = round(share * n)
    low = float(betaincinv(k, n - k + 1, 0.025)) if k else 0.0
    return low, float(betaincinv(k + 1, n - k, 0.975)) if k < n else 1.0


def _record_mse(a: Tensor, b: Tensor) -> Tensor:
    chunks = zip(torch.split(a, CHUNK), torch.split(b, CHUNK), strict=True)
    return torch.cat([(p.double() - q.double()).square().flatten(1).mean(1) for p, q in chunks])


def hit(scores: Tensor, labels: Tensor) -> Tensor:
    best = scores == scores.amax(1, keepdim=True)  # (N, K)
    return best.gather(1, labels.long()[:, None])[:, 0].double() / best.sum(1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    a, b = a.flatten(1), b.flatten(1)
    union = (a | b).sum(1).double()
    return torch.where(union == 0, 1.0, (a & b).sum(1) / union.clamp(min=1))


def _yes_no(guess: Tensor, truth: Tensor) -> tuple[np.ndarray, np.ndarray]:
    score, positive = checked(guess, truth).double().numpy(), plain(truth).numpy() == 1
    no = plain(truth).numpy() == 0
    if score.ndim != 1 or not (positive | no).all() or not positive.any() or not no.any():
        raise BadInput("truth must be (N,) of 0 and 1 with at least one of each")
    return score, positive


def _place(guess: Tensor, truth: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(N,): the share of the other class that each target is ranked correctly against; (N,): which are positive."""
    score, positive = _yes_no(guess, truth)
    place = np.empty(len(score))
    for own in (positive, ~positive):
        other, same = np.sort(score[~own]), score[own]
        below = np.searchsorted(other, same, "left") + np.searchsorted(other, same, "right")
        place[own] = below / (2 * len(other))
    return np.where(positive, place, 1 - place), positive


def check_range(x: Tensor, in_range: tuple[float, float], who: str, error: type[Exception]) -> None:
    low, high = in_range
    slack = 1e-6 * (high - low)
    if not len(x):
        raise error(f"{who} is empty")
    least, most = float(x.min()), float(x.max())
    if not (low - slack <= least and most <= high + slack):  # so written that NaN fails too
        raise error(f"{who} must lie in {low:g}..{high:g}, has {least:g}..{most:g}")
