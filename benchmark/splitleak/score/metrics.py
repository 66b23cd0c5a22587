"""Scores of a guess against the truth, beside the floor: the same score of a guess made without the channel.

Pure functions, one set for each goal and task. `advantage` is 0 at the floor and 1 for a perfect guess
whatever the goal, below 0 for a guess worse than blind. Letters as in `contract`; sums are float64 on the CPU.
Whatever cannot be scored raises (BadInput: the truth, BadGuess: the guess); nothing here returns NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from splitleak.contract.errors import BadGuess, BadInput, Diverged
from splitleak.score.similarity import CHUNK, check_finite, checked, distance_correlation, dtw, plain, reid_top1, ssim

if TYPE_CHECKING:
    from splitleak.contract import Task

PSNR_CAP = 100.0  # dB: what an exact copy counts as; its own value would be infinite and swallow the mean
NOTHING = "the floor's guess is already perfect on these targets: there is nothing to reconstruct"


@dataclass(frozen=True)
class PerTarget:
    """What each target adds to a mean score: the advantage can be taken of any resample of the targets."""

    mine: Tensor  # (N,) squared error, hit or overlap of the guess
    floor: Tensor  # (N,) the same of the floor's guess
    best: float  # a perfect guess: 0 for an error, 1 for a hit

    def advantage(self) -> float:
        """(mine - floor) / (best - floor) of the means, so written that the floor's own guess gets exactly 0."""
        floor = float(self.floor.mean())
        if floor == self.best:
            raise BadInput(NOTHING)
        return 1 - (self.best - float(self.mine.mean())) / (self.best - floor)


# Main entry points, one a goal and task -----------------------------------------------------------


def inputs(guess: Tensor, truth: Tensor, floor_guess: Tensor, in_range: tuple[float, float]) -> dict[str, float]:
    """INPUTS: guess, truth (N, *in), floor_guess the same or one record; signals (C, L) also get dcor and dtw.

    mse: mean over targets of a record's own. psnr: dB, mean over records, each at most PSNR_CAP (an exact copy).
    dtw: the square root of the summed squared differences along the warping path, divided by the length L.
    """
    guess, truth, floor_guess = plain(guess), plain(truth), plain(floor_guess)
    _check_range(truth, in_range, "truth", BadInput)
    _check_range(guess, in_range, "guess", BadGuess)
    per = errors(guess, truth, floor_guess)
    low, span = in_range[0], in_range[1] - in_range[0]
    psnr = 10 * torch.log10(span**2 / per.mine)
    result = {
        "advantage": per.advantage(),
        "mse": float(per.mine.mean()),
        "mse_floor": float(per.floor.mean()),
        "psnr": float(psnr.clamp(max=PSNR_CAP).mean()),
        "reid_top1": reid_top1(guess, truth),
    }
    if truth.dim() > 2:
        result["ssim"] = ssim((guess - low) / span, (truth - low) / span)
    if truth.dim() == 3:
        result["dtw"] = dtw(guess, truth)
        if len(truth) > 3:
            result["dcor"] = distance_correlation(guess, truth)
    return _finite(result)


def classes(scores: Tensor, labels: Tensor, floor_label: int) -> dict[str, float]:
    """LABELS of classes: scores (N, K), labels (N,); floor_label is the auxiliary set's majority class."""
    per = hits(scores, labels, floor_label)
    result = {
        "label_accuracy": float(per.mine.mean()),
        "floor": float(per.floor.mean()),
        "advantage": per.advantage(),
    }
    if scores.shape[1] == 2:
        result["auc"] = auc(scores[:, 1] - scores[:, 0], labels)
        result["signed_auc"] = 2 * result["auc"] - 1
    return _finite(result)


def masks(probabilities: Tensor, truth: Tensor, floor_mask: Tensor) -> dict[str, float]:
    """LABELS of masks, cut at 0.5: probabilities, truth (N, 1, H, W); floor_mask the auxiliary mean mask."""
    per = overlaps(probabilities, truth, floor_mask)
    guessed, true = plain(probabilities).flatten(1) > 0.5, plain(truth).flatten(1) > 0.5
    return _finite(
        {
            "iou": float(per.mine.mean()),
            "floor": float(per.floor.mean()),
            "advantage": per.advantage(),
            "dice": float((2 * per.mine / (1 + per.mine)).mean()),  # the same overlap on another scale
            "pixel_accuracy": float((guessed == true).double().mean()),
        }
    )


def values(guess: Tensor, truth: Tensor, floor: Tensor) -> dict[str, float]:
    """LABELS of values: guess, truth (N, D); floor (N, D) or the auxiliary mean (D,)."""
    per = errors(guess, truth, floor)
    means = {"mse": float(per.mine.mean()), "mse_floor": float(per.floor.mean())}
    return _finite({**means, "advantage": per.advantage()})


def scores(guess: Tensor, truth: Tensor) -> dict[str, float]:
    """MEMBERSHIP and PROPERTY: guess (N,) higher for yes, truth (N,) 0 or 1; the floor is a coin."""
    area = auc(guess, truth)
    return _finite({"auc": area, "advantage": 2 * area - 1, "tpr_at_1fpr": tpr_at_fpr(guess, truth, 0.01)})


def utility(prediction: Tensor, y: Tensor, task: Task) -> tuple[str, float]:
    """What the victim is good for, higher is better in every task: accuracy, iou of masks, or r2.

    prediction: logits of classes (n, K) or of masks (n, 1, H, W), cut where the probability is 0.5; or values (n, D).

    r2 and not the mse, which would turn around the sign of every drop and has the unit of y squared.
    """
    prediction, y = plain(prediction), plain(y)
    if not prediction.isfinite().all():
        raise Diverged("the model predicts numbers that are not finite")
    if task.kind == "classes":
        return "accuracy", float(_hit(prediction, y).mean())
    if task.kind == "mask":
        return "iou", float(_iou(_inside(prediction), y > 0.5).mean())
    return "r2", errors(prediction, y, y.double().mean(0)).advantage()


def utility_also(prediction: Tensor, y: Tensor, task: Task) -> dict[str, float]:
    """The task's other measures of the same finite prediction, defined as scikit-learn does.

    classes: balanced_accuracy, the mean recall of the classes that occur, and auc: of class 1 where there are two,
    else the mean over each class against the rest; left out where a class does not occur. masks: dice, mean over
    records, and pixel_accuracy. values: mse (in the unit of y, squared) and mae.
    """
    prediction, y = plain(prediction), plain(y)
    if task.kind == "classes":
        occur = y.unique()
        hit = _hit(prediction, y)
        told = {"balanced_accuracy": float(torch.stack([hit[y == k].mean() for k in occur]).mean())}
        if len(occur) == task.size > 1:
            probability = prediction.double().softmax(1)
            areas = [auc(probability[:, k], (y == k).long()) for k in range(1 if task.size == 2 else 0, task.size)]
            told["auc"] = float(np.mean(areas))
    elif task.kind == "mask":
        guessed, true = _inside(prediction), y > 0.5
        iou = _iou(guessed, true)
        told = {"dice": float((2 * iou / (1 + iou)).mean()), "pixel_accuracy": float((guessed == true).double().mean())}
    else:
        error = prediction.double() - y.double()
        told = {"mse": float(error.square().mean()), "mae": float(error.abs().mean())}
    return _finite(told)


# Per target, and how sure the mean over targets is ------------------------------------------------


def errors(guess: Tensor, truth: Tensor, floor: Tensor) -> PerTarget:
    """A record's mean squared error; guess, truth (N, ...), floor the same or without the N."""
    guess, truth, floor = checked(guess, truth), plain(truth), plain(floor)
    if not truth.isfinite().all() or not floor.isfinite().all():
        raise BadInput("truth and floor must be finite numbers")
    return PerTarget(_record_mse(guess, truth), _record_mse(floor.expand_as(truth), truth), 0)


def hits(scores: Tensor, labels: Tensor, floor_label: int) -> PerTarget:
    """Whether the best score is the label's; K classes tied for best count 1 / K, as if drawn among them."""
    scores, labels = plain(scores), plain(labels)
    if scores.dim() != 2 or scores.shape[:1] != labels.shape or not len(labels):
        raise BadGuess(f"guess has shape {tuple(scores.shape)}, must be (N, K) for labels {tuple(labels.shape)}")
    check_finite(scores)
    if labels.is_floating_point() or labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise BadInput(f"labels must be integers in 0..{scores.shape[1] - 1}")
    return PerTarget(_hit(scores, labels), (labels == floor_label).double(), 1)


def overlaps(probabilities: Tensor, truth: Tensor, floor_mask: Tensor) -> PerTarget:
    """A record's intersection over union at 0.5; 1 where guess and truth are both empty."""
    probabilities, truth, floor_mask = checked(probabilities, truth), plain(truth), plain(floor_mask)
    _check_range(probabilities, (0, 1), "guess", BadGuess)
    _check_range(floor_mask, (0, 1), "floor", BadInput)
    if not ((truth == 0) | (truth == 1)).all():
        raise BadInput("truth: masks must be 0 or 1")
    cut = truth > 0.5
    return PerTarget(_iou(probabilities > 0.5, cut), _iou((floor_mask > 0.5).expand_as(cut), cut), 1)


def placements(guess: Tensor, truth: Tensor) -> PerTarget:
    """A target's pull on the AUC (DeLong et al. 1988), their mean; guess (N,), truth (N,) 0 or 1."""
    place, positive = _place(guess, truth)
    area = place[positive].mean()
    share = np.where(positive, positive.mean(), 1 - positive.mean())
    mine = torch.from_numpy(area + (place - area) / share)
    return PerTarget(mine, torch.full_like(mine, 0.5), 1)


def bootstrap_ci(per: PerTarget, generator: np.random.Generator, resamples: int = 1000) -> float:
    """Half-width of the 95 % percentile interval of the advantage, when the N targets are drawn again.

    Resamples in which the floor is perfect have no advantage and are left out.
    """
    n = len(per.mine)
    if n < 2:
        raise BadInput("a bootstrap interval needs at least 2 targets")
    index = generator.integers(n, size=(resamples, n), dtype=np.int32)
    mine = per.mine.numpy()[index].mean(1)
    floor = per.floor.numpy()[index].mean(1)
    good = floor != per.best
    if not good.any():
        raise BadInput(NOTHING)
    low, high = np.quantile(1 - (per.best - mine[good]) / (per.best - floor[good]), (0.025, 0.975))
    return float(high - low) / 2


def permutation_p(
    score: Callable[[Tensor, Tensor], float],
    guess: Tensor,
    truth: Tensor,
    generator: np.random.Generator,
    n: int = 999,
) -> float:
    """How often guesses dealt to other targets score as high: (1 + count) / (1 + n); small: they fit their own."""
    guess, truth = plain(guess), plain(truth)
    real = float(score(guess, truth)) - 1e-12  # sums in another order differ in the last digit
    if not math.isfinite(real):
        raise BadGuess("the score is not a finite number")
    deals = (torch.from_numpy(generator.permutation(len(truth))) for _ in range(n))
    return (1 + sum(float(score(guess, truth[deal])) >= real for deal in deals)) / (1 + n)


# Single metrics -----------------------------------------------------------------------------------


def auc(guess: Tensor, truth: Tensor) -> float:
    """Probability that a random yes scores above a random no, a tie counting half; guess, truth (N,)."""
    place, positive = _place(guess, truth)
    return float(place[positive].mean())


def tpr_at_fpr(guess: Tensor, truth: Tensor, fpr: float) -> float:
    """Share of yes above the lowest threshold that at most `fpr` of the no exceed; guess, truth (N,)."""
    score, positive = _yes_no(guess, truth)
    no = np.sort(score[~positive])[::-1]
    return float((score[positive] > no[int(fpr * len(no) + 1e-9)]).mean())


# Parts --------------------------------------------------------------------------------------------


def _record_mse(a: Tensor, b: Tensor) -> Tensor:
    chunks = zip(torch.split(a, CHUNK), torch.split(b, CHUNK), strict=True)
    return torch.cat([(p.double() - q.double()).square().flatten(1).mean(1) for p, q in chunks])


def _hit(scores: Tensor, labels: Tensor) -> Tensor:
    best = scores == scores.amax(1, keepdim=True)  # (N, K)
    return best.gather(1, labels.long()[:, None])[:, 0].double() / best.sum(1)


def _inside(logits: Tensor) -> Tensor:
    return logits > 0  # where the probability is above 0.5


def _iou(a: Tensor, b: Tensor) -> Tensor:
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
    """Share of the other class that a target is on the right side of, ties half; and who is a yes: (N,) each."""
    score, positive = _yes_no(guess, truth)
    place = np.empty(len(score))
    for own in (positive, ~positive):
        other, mine = np.sort(score[~own]), score[own]
        below = np.searchsorted(other, mine, "left") + np.searchsorted(other, mine, "right")
        place[own] = below / (2 * len(other))
    return np.where(positive, place, 1 - place), positive


def _check_range(x: Tensor, in_range: tuple[float, float], who: str, error: type[Exception]) -> None:
    low, high = in_range
    slack = 1e-6 * (high - low)
    if not len(x):
        raise error(f"{who} is empty")
    least, most = float(x.min()), float(x.max())
    if not (low - slack <= least and most <= high + slack):  # so written that NaN fails too
        raise error(f"{who} must lie in {low:g}..{high:g}, has {least:g}..{most:g}")


def _finite(result: dict[str, float]) -> dict[str, float]:
    bad = [name for name, value in result.items() if not math.isfinite(value)]
    if bad:
        raise ValueError(f"metrics {', '.join(bad)} are not finite numbers")
    return result
