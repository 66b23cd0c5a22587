"""Similarity of a guess and a truth beyond the squared error: re-identification, SSIM, time warping, dependence.

Pure functions on pairs (N, ...), with sums in double precision on the CPU. `metrics` chooses which a goal reports.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from splitleak.contract.errors import BadGuess
from splitleak.pieces.distances import squared_distances

SLOW_DTW = 100  # records, where dtaidistance has no C library and one record takes 0.1 s
CHUNK = 64  # records held in float64 at a time


def reid_top1(guess: Tensor, truth: Tensor) -> float:
    """Share of guesses that are nearer to their own truth than to any other. A tie fails, except for an exact copy.

    guess, truth (N, ...).
    """
    return float((ranks(guess, truth)[0] == 1).double().mean())


def ranks(guess: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """For each guess (N, ...) the rank of its own truth among all by distance, 1: the nearest; and which is nearest.

    Others that are as near come first, unless the guess is an exact copy.
    """
    guess = checked(guess, truth)
    distance = squared_distances(guess, truth)
    slack = 1e-10 * float(distance.abs().mean())  # far above rounding, far below any real difference
    own = distance.diagonal()[:, None]
    rank = (distance <= own + slack).sum(1)  # itself among them
    same = (guess == plain(truth)).flatten(1).all(1)
    rank = torch.where(same, 1, rank)
    return rank, torch.where(rank == 1, torch.arange(len(rank)), distance.argmin(1))


def ssim(guess: Tensor, truth: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of records (N, C, L) or (N, C, H, W) in 0..1, mean over all.

    Gaussian window of sigma 1.5 and 11 taps, cut to the record where that is smaller. The same number as skimage's
    structural_similarity with gaussian_weights and without use_sample_covariance, but for whole batches: the blur
    is a matrix product along each axis.
    """
    sides = truth.shape[2:]
    margin = min(5, (min(sides) - 1) // 2)  # left out at each edge, where the window would stick out
    blurs = [_blur(side, margin) for side in sides]
    total = 0.0
    for g, t in zip(torch.split(guess, CHUNK), torch.split(truth, CHUNK), strict=True):
        total += float(_ssim_map(g.double(), t.double(), blurs).flatten(1).mean(1).sum())
    return total / len(truth)


def dtw(guess: Tensor, truth: Tensor) -> float:
    """Dynamic time warping distance of signals (N, C, L) by length L, channels warped together; mean over N."""
    from dtaidistance import dtw as one
    from dtaidistance import dtw_ndim as many

    fast = one.dtw_cc is not None
    count = len(truth) if fast else min(len(truth), SLOW_DTW)
    pairs = [plain(t)[:count].double().transpose(1, 2).contiguous().numpy() for t in (guess, truth)]
    if truth.shape[1] == 1:
        pairs, distance = [p[..., 0] for p in pairs], one.distance_fast if fast else one.distance
    else:
        distance = many.distance_fast if fast else many.distance
    # Pruning, the fast version's default, answers inf where the straight path is the best and rounding hides it.
    distances = [distance(g, t, use_pruning=False) for g, t in zip(*pairs, strict=True)]
    return float(np.mean(distances)) / truth.shape[2]


def distance_correlation(x: Tensor, y: Tensor) -> float:
    """Bias-corrected squared distance correlation (Székely & Rizzo 2013): near 0 for unrelated x, y (N, ...).

    Written out, because `import dcor` compiles for 10 s in every process; the same number as
    dcor.u_distance_correlation_sqr, 0 too where one side never varies. Needs N > 3.
    """
    a, b = _u_centred(x), _u_centred(y)
    scale = math.sqrt(float(a.square().sum()) * float(b.square().sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0


def _blur(side: int, margin: int) -> Tensor:
    """The Gaussian filter of an axis as a matrix (side - 2 margin, side), reflecting at the edges."""
    from scipy.ndimage import gaussian_filter1d

    whole = gaussian_filter1d(np.eye(side), 1.5, axis=0, truncate=3.5, mode="reflect")
    return torch.from_numpy(whole[margin : side - margin])


def _ssim_map(g: Tensor, t: Tensor, blurs: list[Tensor]) -> Tensor:
    def mean(x: Tensor) -> Tensor:
        x = x @ blurs[-1].T
        return x if len(blurs) == 1 else blurs[0] @ x

    mu_g, mu_t = mean(g), mean(t)
    var_g, var_t, both = mean(g * g) - mu_g**2, mean(t * t) - mu_t**2, mean(g * t) - mu_g * mu_t
    c1, c2 = 0.01**2, 0.03**2
    light = (2 * mu_g * mu_t + c1) / (mu_g**2 + mu_t**2 + c1)
    return light * (2 * both + c2) / (var_g + var_t + c2)


def _u_centred(x: Tensor) -> Tensor:
    flat = plain(x).double().flatten(1)
    n = len(flat)
    a = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")  # (N, N)
    row = a.sum(1) / (n - 2)
    a = a - row - row[:, None] + a.sum() / ((n - 1) * (n - 2))
    return a.fill_diagonal_(0)


def plain(x: Tensor) -> Tensor:
    return x.detach().cpu()


def checked(guess: Tensor, truth: Tensor) -> Tensor:
    guess = plain(guess)
    if guess.shape != truth.shape or not len(truth):
        raise BadGuess(f"guess has shape {tuple(guess.shape)}, must be {tuple(truth.shape)} and not empty")
    check_finite(guess)
    return guess


def check_finite(guess: Tensor) -> None:
    if not guess.isfinite().all():
        raise BadGuess("guess has numbers that are not finite")
