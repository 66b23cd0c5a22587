"""Leading components of messages or records, and maps of them in which records of one person lie together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from splitleak.pieces.pairs import linkage_auc

Embed = Callable[[Tensor], Tensor]  # (N, D) -> (N, E)

MOST = 256  # components
SHRINKS = (
    10.0,
    3.0,
    1.0,
    0.3,
    0.1,
    0.03,
    0.01,
    0.001,
)  # what is added to a covariance, as a share of its mean variance
SOME = 600  # records that candidates are compared on: pairs are many


def leading(z: Tensor) -> Embed:
    """The projection (N, *cut) -> (N, at most MOST) onto the components of z (M, *cut) that vary most, centred."""
    flat = z.flatten(1).float()
    mean = flat.mean(0)
    wanted = min(MOST, *flat.shape)
    vectors: Tensor | None = None
    if wanted < flat.shape[1]:
        vectors = torch.pca_lowrank(flat - mean, wanted, center=False, niter=2)[2]

    def project(new: Tensor) -> Tensor:
        centred = new.flatten(1).float() - mean
        return (centred if vectors is None else centred @ vectors).to(torch.float64)

    return project


def whitened(spread: Tensor, shrink: float) -> Tensor:
    """(D, D): the map under which vectors with the covariance of `spread` (M, D) vary alike in all directions."""
    values, vectors = torch.linalg.eigh(spread.T @ spread / len(spread))
    scale = values.clamp(min=0) + shrink * values.mean().clamp(min=1e-12)
    found: Tensor = vectors * scale.rsqrt()
    return found


def deviations(f: Tensor, person: Tensor) -> Tensor:
    """(M, D): what each record differs by from the mean of its person."""
    _, place = person.unique(return_inverse=True)
    count = place.bincount().to(f)[:, None]
    means: Tensor = f.new_zeros(len(count), f.shape[1]).index_add(0, place, f) / count
    return f - means[place]


def folds_of(person: Tensor, most: int) -> Tensor:
    """(M,): a fold for each record, drawn for whole people; at most so many folds, two people in each if possible."""
    names, place = person.unique(return_inverse=True)
    drawn = torch.randperm(len(names), device=person.device) % min(most, max(len(names) // 2, 2))
    return drawn[place]


def best_map(f: Tensor, person: Tensor, folds: int = 4) -> Tensor:
    """(D, D): the whitening of what records differ by from their person's mean, for f (M, D) and person (M,).

    Within-class covariance normalisation: Hatch, Kajarekar and Stolcke, Interspeech 2006. The shrinkage is the one that
    links the records of left-out people best.
    """
    fold = folds_of(person, folds)
    score = torch.zeros(len(SHRINKS))
    for k in fold.unique().tolist():
        kept, held = fold != k, (fold == k).nonzero().flatten()
        held = held[torch.randperm(len(held), device=held.device)[:SOME]]
        own, others = f[held] - f[held].mean(0), deviations(f[kept], person[kept])
        score += torch.tensor([linkage_auc(own @ whitened(others, shrink), person[held]) for shrink in SHRINKS])
    return whitened(deviations(f, person), SHRINKS[int(score.argmax())])
