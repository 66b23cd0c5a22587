"""'Visual invertibility' of a split ECG network: how similar a beat and the channels of its activation are.

The measure of Abuadbba et al., AsiaCCS 2020, as published, beside the same with its errors corrected: beats are paired
with their own activations, and the distance correlation is estimated without bias (Szekely & Rizzo 2013).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.score import similarity

SHUFFLES = 100


def invertibility(x: Tensor, z: Tensor, batch: int, generator: torch.Generator) -> dict[str, float]:
    """How similar a beat and the channels of its activation are, as published and corrected; x (N, 1, L), z (N, C, P).

    The distance correlation is over the P positions of one pair: AvgPool(x) and one channel.
    published: every activation of a batch is compared with the batch's first beat.
    paired: every activation is compared with its own beat.
    unbiased: the squared, bias-corrected estimator of the right pairs. Beside it: its mean over wrong pairs (the beats
    are permuted; heartbeats are alike, so it is not 0), and the 95 % point when positions are shuffled (no relation).
    """
    n, positions = len(z), z.shape[2]
    pooled = F.adaptive_avg_pool1d(x, positions)[:, 0]  # (N, P)
    own = torch.arange(n)
    first = own // batch * batch
    biased = correlation(pooled, z, unbiased=False)  # (N beats, N activations, C)
    unbiased = correlation(pooled, z, unbiased=True)
    found = mean_and_top("dcor_published", biased[first, own])
    found |= mean_and_top("dcor_paired", biased[own, own])
    found |= mean_and_top("dcor2_unbiased", unbiased[own, own])
    orders = [torch.randperm(n, generator=generator) for _ in range(SHUFFLES)]
    found["dcor2_other_beats"] = float(torch.stack([unbiased[order, own].mean() for order in orders]).mean())
    found["dcor2_null95"] = shuffled(pooled, z, generator)
    found["dtw_top"] = _lowest_dtw(pooled[:batch], z[:batch]) * positions
    standardised = [torch.stack([_standard(series) for series in zs]) for zs in z[:batch]]
    beats = torch.stack([_standard(beat) for beat in pooled[:batch]])
    return found | {"dtw_top_standardised": _lowest_dtw(beats, torch.stack(standardised)) * positions}


def _lowest_dtw(pooled: Tensor, z: Tensor) -> float:
    """Dynamic time warping distance to the channel of z (N, C, P) that is closest on average to pooled (N, P)."""
    pairs = [
        [similarity.dtw(beat[None, None], channel[None, None]) for channel in channels]
        for beat, channels in zip(pooled, z, strict=True)
    ]
    return float(torch.tensor(pairs).mean(0).min())


def mean_and_top(name: str, pairs: Tensor) -> dict[str, float]:
    """Of (N, C): the mean over all, and the channel that is highest on average."""
    return {f"{name}_mean": float(pairs.mean()), f"{name}_top": float(pairs.mean(0).max())}


def correlation(a: Tensor, z: Tensor, *, unbiased: bool) -> Tensor:
    """(N, P), (M, C, P) -> (N, M, C): distance correlation over the positions of every pair; squared if unbiased."""
    left = centred(a, unbiased=unbiased)  # (N, P * P), each of norm 1
    right = centred(z.flatten(0, 1), unbiased=unbiased)
    squared = (left @ right.T).view(len(a), *z.shape[:2])
    return squared if unbiased else squared.clamp(min=0).sqrt()


def centred(series: Tensor, *, unbiased: bool) -> Tensor:
    """Distances between all positions of a series (N, P), centred (Szekely & Rizzo 2013) and scaled to norm 1."""
    d = (series.double()[:, :, None] - series.double()[:, None, :]).abs()  # (N, P, P)
    p = d.shape[1]
    row = d.sum(1) / (p - 2 if unbiased else p)
    whole = d.sum((1, 2)) / ((p - 1) * (p - 2) if unbiased else p * p)
    d = d - row[:, :, None] - row[:, None, :] + whole[:, None, None]
    if unbiased:
        d.diagonal(dim1=1, dim2=2).zero_()
    d = d.flatten(1)
    norm = d.norm(dim=1, keepdim=True)
    return torch.where(norm > 0, d / norm, 0.0)  # a constant series is related to nothing


def shuffled(pooled: Tensor, z: Tensor, generator: torch.Generator) -> float:
    """The 95 % point over shuffles of the mean unbiased correlation of pairs whose positions are unrelated."""
    means = []
    right = centred(z.flatten(0, 1), unbiased=True).view(*z.shape[:2], -1)  # (N, C, P * P)
    for _ in range(SHUFFLES):
        order = torch.randperm(pooled.shape[1], generator=generator)
        left = centred(pooled[:, order], unbiased=True)
        means.append(torch.einsum("nk,nck->", left, right) / right.shape[0] / right.shape[1])
    return float(torch.stack(means).quantile(0.95))


def _standard(series: Tensor) -> Tensor:
    return (series - series.mean()) / series.std().clamp(min=1e-9)
