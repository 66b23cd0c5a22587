"""Scores of a guess against the ground truth, one function for each goal and task.

`advantage` is 0 at the floor, the best guess without the channel, and 1 for a perfect guess, whatever the goal; below 0
for a guess worse than the floor. Pure functions: what cannot be scored raises, and nothing here returns NaN.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from splitleak.contract import BadGuess, BadInput
from splitleak.score.per_target import (
    auc,
    check_range,
    clopper_pearson,
    errors,
    hits,
    overlaps,
    tpr_at_fpr,
)
from splitleak.score.similarity import distance_correlation, dtw, plain, reid_top1, ssim

RATES = {"tpr_at_1fpr": 0.01, "tpr_at_0_1fpr": 0.001}  # of false positives, by metric
PSNR_CAP = 100.0  # dB of an exact copy, whose own value would be infinite and swallow the mean


def inputs(guess: Tensor, truth: Tensor, floor_guess: Tensor, in_range: tuple[float, float]) -> dict[str, float]:
    """INPUTS: guess, truth (N, *in), floor_guess the same or one record; signals (C, L) also get dcor and dtw.

    mse: mean over targets of a record's own. psnr: dB, mean over records, each at most PSNR_CAP (an exact copy).
    dtw: the square root of the summed squared differences along the warping path, divided by the length L.
    """
    guess, truth, floor_guess = plain(guess), plain(truth), plain(floor_guess)
    check_range(truth, in_range, "truth", BadInput)
    check_range(guess, in_range, "guess", BadGuess)
    per = errors(guess, truth, floor_guess)
    low, span = in_range[0], in_range[1] - in_range[0]
    psnr = 10 * torch.log10(span**2 / per.guess)
    result = {
        "advantage": per.advantage(),
        "mse": float(per.guess.mean()),
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
    return finite(result)


def classes(scores: Tensor, labels: Tensor, floor: int | Tensor) -> dict[str, float]:
    """LABELS of classes: scores (N, K), labels (N,); floor is one class for all targets, or scores (N, K)."""
    per = hits(scores, labels, floor)
    result = {
        "label_accuracy": float(per.guess.mean()),
        "floor": float(per.floor.mean()),
        "advantage": per.advantage(),
    }
    if scores.shape[1] == 2:
        result["auc"] = auc(scores[:, 1] - scores[:, 0], labels)
        result["signed_auc"] = 2 * result["auc"] - 1
    return finite(result)


def masks(probabilities: Tensor, truth: Tensor, floor_mask: Tensor) -> dict[str, float]:
    """LABELS of masks, cut at 0.5: probabilities, truth (N, 1, H, W); floor_mask the auxiliary mean mask."""
    per = overlaps(probabilities, truth, floor_mask)
    guessed, true = plain(probabilities).flatten(1) > 0.5, plain(truth).flatten(1) > 0.5
    return finite(
        {
            "iou": float(per.guess.mean()),
            "floor": float(per.floor.mean()),
            "advantage": per.advantage(),
            "dice": float((2 * per.guess / (1 + per.guess)).mean()),  # the same overlap on another scale
            "pixel_accuracy": float((guessed == true).double().mean()),
        }
    )


def values(guess: Tensor, truth: Tensor, floor: Tensor) -> dict[str, float]:
    """LABELS of values: guess, truth (N, D); floor (N, D) or the auxiliary mean (D,)."""
    per = errors(guess, truth, floor)
    means = {"mse": float(per.guess.mean()), "mse_floor": float(per.floor.mean())}
    return finite({**means, "advantage": per.advantage()})


def scores(guess: Tensor, truth: Tensor) -> dict[str, float]:
    """MEMBERSHIP and PROPERTY: guess (N,) higher for yes, truth (N,) 0 or 1; the floor is a coin.

    tpr_at_0_1fpr is missing where there are fewer than 1000 negatives: a rate of 0.1 % would be less than one of them.
    """
    area = auc(guess, truth)
    result = {"auc": area, "advantage": 2 * area - 1}
    for name, fpr in RATES.items():
        if name == "tpr_at_1fpr" or int((truth == 0).sum()) >= 1 / fpr:
            result[name] = tpr_at_fpr(guess, truth, fpr)
            result[f"{name}_low"], result[f"{name}_high"] = clopper_pearson(result[name], int((truth == 1).sum()))
    return finite(result)


def properties(guess: Tensor, truth: Tensor, labels: Tensor | None) -> dict[str, float]:
    """PROPERTY: also accuracy_gain, the accuracy of the sign of the guess less the share of the usual answer.

    labels (N,): of records with classes also auc_class, as in `members`.
    """
    found = scores(guess, truth) if labels is None else members(guess, truth, labels)
    yes = plain(truth) == 1
    right, usual = ((plain(guess) > 0) == yes).double().mean(), yes.double().mean()
    return finite({**found, "accuracy_gain": float(right) - max(float(usual), 1 - float(usual))})


def members(guess: Tensor, truth: Tensor, labels: Tensor) -> dict[str, float]:
    """MEMBERSHIP of records with classes, labels (N,): also auc_class, the AUC of the share of members in a class.

    No guess from the class alone does better. 0.5 where members and strangers have the same classes.
    """
    truth, labels = plain(truth).double(), plain(labels)
    share = truth.new_zeros(int(labels.max()) + 1).index_add(0, labels, truth) / labels.bincount().clamp(min=1)
    return finite({**scores(guess, truth), "auc_class": auc(share[labels], truth)})


def finite(result: dict[str, float]) -> dict[str, float]:
    bad = [name for name, value in result.items() if not math.isfinite(value)]
    if bad:
        raise ValueError(f"metrics {', '.join(bad)} are not finite numbers")
    return result
