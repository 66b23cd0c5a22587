"""The figures published for split ECG beside ours: accuracy, and the 'visual invertibility' with its corrections.

`python -m splitleak.published RUNS OUT.csv` reads the victims that `splitleak run ecg_published --out RUNS` has kept.
Source of the reported figures: Abuadbba et al., AsiaCCS 2020, tables and logs of their code.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.jobs.worker import Worker
from splitleak.plan import matrix
from splitleak.plan.cell import Cell
from splitleak.plan.seeds import Stream
from splitleak.score import channel, similarity
from splitleak.score.targets import unique
from splitleak.train.facts import Kept
from splitleak.train.victim import fresh

RECORDS = 320  # ten batches of test beats
SHUFFLES = 100


@dataclass(frozen=True)
class Reported:
    """Best test accuracy of any epoch; distance correlation of the mean and of the top channel; the top one's DTW."""

    accuracy: float | None = None
    dcor_mean: float | None = None
    dcor_top: float | None = None
    dtw_top: float | None = None


REPORTED = {  # (epsilon of the range noise, convolutions) -> as published
    (None, 2): Reported(0.9844, 0.651, 0.8935, 2.70),
    (10.0, 2): Reported(0.8920, None, 0.656, 23.8),
    (5.0, 2): Reported(0.8365, None, 0.490, 99.7),
    (1.0, 2): Reported(0.5059, None, 0.330, 338.0),
    (None, 4): Reported(0.9774),
    (None, 8): Reported(0.9507, 0.464, 0.688),
}


def table(folder: Path, source: str | Path = "ecg_published") -> list[dict[str, Any]]:
    """A row per setting, the mean over its seeds; settings whose victims are missing are left out."""
    whole = matrix.read(source)
    worker = Worker(folder, whole.base, "cpu")
    rows: dict[tuple[Any, ...], list[dict[str, float]]] = defaultdict(list)
    for cell in {cell.victim_key: cell for cell in whole.cells}.values():
        kept = Kept.read(worker.store, cell.victim_key)
        if kept is not None and not kept.facts.diverged:
            rows[setting(cell)].append(measured(cell, worker, kept))
    return [told(key, found) for key, found in sorted(rows.items(), key=lambda item: (item[0][1], -(item[0][0] or 99)))]


def setting(cell: Cell) -> tuple[Any, ...]:
    return cell.defense.get("epsilon"), cell.model["layers"], cell.model["softmax_head"], cell.train.epochs


def told(key: tuple[Any, ...], found: list[dict[str, float]]) -> dict[str, Any]:
    """Reported beside measured."""
    epsilon, layers, softmax, epochs = key
    reported = REPORTED.get((epsilon, layers), Reported())
    row: dict[str, Any] = {"epsilon": epsilon, "layers": layers, "softmax_head": softmax, "epochs": epochs}
    row |= {"seeds": len(found)} | {f"reported_{name}": value for name, value in vars(reported).items()}
    return row | {name: sum(f[name] for f in found) / len(found) for name in found[0]}


def measured(cell: Cell, worker: Worker, kept: Kept) -> dict[str, float]:
    case = worker.case(cell)
    data = worker.data(case)
    made = fresh(case, data)
    made.load(kept.tensors)
    beats = unique(data.test).take(torch.arange(RECORDS))
    z = channel.release(made, beats, Stream(cell.seeds.of("published")))["smashed"]
    last = float(kept.facts.utility or 0.0)
    curve = kept.facts.learned.utility_curve or [last]
    best = {"accuracy_best_on_test": max(curve), "accuracy_last_epoch": last}
    return best | invertibility(beats.x, z, cell.train.batch_size, torch.Generator().manual_seed(0))


def invertibility(x: Tensor, z: Tensor, batch: int, generator: torch.Generator) -> dict[str, float]:
    """How alike a beat and the channels of its activation are, as published and put right; x (N, 1, L), z (N, C, P).

    Their distance correlation is over the P positions of one pair: AvgPool(x) against one channel.
    published: beats of a batch are all held against the batch's first one. paired: each against its own.
    unbiased: the squared, bias-corrected estimator of its own pairs; beside it the mean when the beats are dealt anew
    (heartbeats are alike, so that is not 0) and the 95 % point when positions are shuffled (what no relation gives).
    """
    n, positions = len(z), z.shape[2]
    pooled = F.adaptive_avg_pool1d(x, positions)[:, 0]  # (N, P)
    first = torch.arange(n) // batch * batch
    found: dict[str, float] = {}
    biased = correlation(pooled, z, unbiased=False)  # (N beats, N activations, C)
    own = torch.arange(n)
    found |= mean_and_top("dcor_published", biased[first, own])
    found |= mean_and_top("dcor_paired", biased[own, own])
    honest = correlation(pooled, z, unbiased=True)
    found |= mean_and_top("dcor2_unbiased", honest[own, own])
    deals = [torch.randperm(n, generator=generator) for _ in range(SHUFFLES)]
    found["dcor2_other_beats"] = float(torch.stack([honest[deal, own].mean() for deal in deals]).mean())
    found["dcor2_null95"] = shuffled(pooled, z, generator)
    warped = torch.tensor([[similarity.dtw(a[None, None], b[None, None]) for b in zs]
                           for a, zs in zip(pooled[:batch], z[:batch], strict=True)])  # fmt: skip
    found["dtw_top"] = float(warped.mean(0).min()) * positions
    scaled = torch.tensor([[similarity.dtw(_standard(a)[None, None], _standard(b)[None, None]) for b in zs]
                           for a, zs in zip(pooled[:batch], z[:batch], strict=True)])  # fmt: skip
    return found | {"dtw_top_standardised": float(scaled.mean(0).min()) * positions}


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
    return torch.where(norm > 0, d / norm, 0.0)  # a series that never moves is related to nothing


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


def main() -> None:
    import pandas as pd

    runs, out = map(Path, sys.argv[1:3])
    pd.DataFrame(table(runs)).to_csv(out, index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
