"""Guesses that need no channel, from auxiliary records: the control makes one, the floor is the best in hindsight.

A record: the mean record, or the mean of its class where its label is known. A label: the majority class if there
clearly is one (the constant mask, the mean value), or the mean label of the nearest auxiliary records where the record
itself is known.
A set, matched with the truth within an update, can do better than one guess for all. Of k records sent together it is k
centroids of the auxiliary records (Lloyd 1982), drawn towards the mean: one centroid is the mean record, and as many as
there are records are the records. Or noise with their covariance, which is more varied than the records of a few
people. Of k labels it is the class mix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from splitleak.contract import Task
from splitleak.pieces.distances import nearest, squared_distances
from splitleak.pieces.matching import matched_records

SHARES = (1.0, 0.75, 0.5)  # of the way from the mean record to a centroid
PASSES = 10  # of Lloyd's algorithm
NEIGHBOURS = 5
SAMPLE = 4096  # records that noise has the covariance of
ROOM = 2**26  # numbers in the records that centroids are made of


def class_means(x: Tensor, y: Tensor, labels: Tensor, classes: int) -> Tensor:
    """(N, *in): for each of labels (N,) the mean of the auxiliary records x (M, *in) with this label in y (M,)."""
    means = [x[y == k].mean(0) if (y == k).any() else x.mean(0) for k in range(classes)]
    return torch.stack(means)[labels]


def for_sets(x: Tensor, sets: Tensor) -> list[tuple[str, Tensor]]:
    """By name guesses (N, *in) of the members of the sets (N,), from auxiliary records x (M, *in)."""
    x = thinned(x).double()
    sizes = sets.bincount().tolist()
    made = {size: centroids(x, size) for size in set(sizes) if size}
    middle = x.mean(0).expand(len(sets), *x.shape[1:])
    far = torch.empty_like(middle)
    for number, size in enumerate(sizes):
        if size:
            far[sets == number] = made[size]
    between = [("centroids", torch.lerp(middle, far, share)) for share in SHARES]
    random = noise_like(x, len(sets), torch.Generator().manual_seed(0)).clamp(x.min(), x.max())
    return [("mean record", middle), *between, ("noise", random)]


def best_for_sets(x: Tensor, sets: Tensor) -> Tensor:
    """The one of them that suits one half of the auxiliary records as targets of the other half."""
    x = thinned(x)
    if len(x) < 2:
        return for_sets(x, sets)[0][1]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    half, targets = x[order[::2]], x[order[1::2]].double()
    truth = targets[torch.arange(len(sets)) % len(targets)]
    tried = [matched_records(guess, truth, sets) for _, guess in for_sets(half, sets)]
    best = min(range(len(tried)), key=lambda k: float((tried[k] - truth).square().mean()))
    return for_sets(x, sets)[best][1]


def noise_like(x: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """(n, *in): Gaussian noise with the mean and the covariance of (at most SAMPLE of) the records x (M, *in)."""
    x = x[:: -(-len(x) // SAMPLE)].cpu().double()
    weights = torch.randn(n, len(x), generator=generator).double() / len(x) ** 0.5
    return x.mean(0) + torch.einsum("nm,m...->n...", weights, x - x.mean(0))


def centroids(x: Tensor, k: int) -> Tensor:
    """(k, *in): Lloyd's algorithm, begun from k of x (M, *in) at equal distances in their order."""
    if k >= len(x):
        return x[torch.arange(k) % len(x)]
    flat = x.flatten(1)
    found = flat[torch.linspace(0, len(x) - 1, k).long()]
    for _ in range(PASSES):
        own = nearest(flat, found)
        count = own.bincount(minlength=k)[:, None]
        sums = torch.zeros_like(found).index_add_(0, own, flat)
        found = torch.where(count > 0, sums / count.clamp(min=1), found)
    return found.view(k, *x.shape[1:])


def thinned(x: Tensor) -> Tensor:
    """On the CPU; every other record, every third and so on where records are many and large."""
    return x[:: -(-x.numel() // ROOM)].cpu()


def majority(y: Tensor, classes: int) -> Tensor:
    """(K,): the scores of the majority class of y (M,), or of any class where chance may have made the majority."""
    share = y.cpu().bincount(minlength=classes).double() / len(y)
    most = share.amax()
    clear = most - 1 / classes > 2 * (most * (1 - most) / len(y)).sqrt()
    return (share == most).double() if clear else torch.zeros_like(share)


def class_mix(y: Tensor, sets: Tensor, classes: int) -> Tensor:
    """(N, K): in each of the sets (N,) every class as often as in y (M,), rounded by the largest remainder."""
    share = y.cpu().bincount(minlength=classes).double() / len(y)
    guess = torch.zeros(len(sets), classes, dtype=torch.double)
    for members in (torch.nonzero(sets == number).flatten() for number in range(int(sets.max()) + 1)):
        count = (share * len(members)).floor()
        rest = len(members) - int(count.sum())
        count[(share * len(members) - count).argsort(descending=True, stable=True)[:rest]] += 1
        guess[members, torch.arange(classes).repeat_interleave(count.long())] = 1
    return guess


def labels_of_nearest(inputs: Tensor, x: Tensor, y: Tensor, task: Task) -> Tensor:
    """For inputs (N, *in) the mean label y (M, ...) of the nearest records x (M, *in); of classes as scores (N, K)."""
    near = squared_distances(inputs, x).topk(min(NEIGHBOURS, len(x)), largest=False).indices  # (N, neighbours)
    labels = y.cpu()
    if task.kind == "classes":
        labels = torch.eye(task.size, dtype=torch.double)[labels]
    return torch.stack([labels[places].double().mean(0) for places in near])
