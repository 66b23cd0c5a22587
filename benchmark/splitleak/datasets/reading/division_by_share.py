"""Division of records into private, auxiliary and test part with their share of every class, by person or by record."""

from __future__ import annotations

import numpy as np

from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.array_files import Array

SHARES = (0.6, 0.2, 0.2)  # of every class's records: private, auxiliary, test
Shares = tuple[float, float, float]
DRAWS, MAX_NUMBERS = 20_000, 4_000_000  # random divisions compared; fewer where draws times people exceed the limit


def divide_by_person(person: Array, label: Array, classes: int, who: str, seed: int, shares: Shares = SHARES) -> Array:
    """Each record's part, (n,): 0 private, 1 auxiliary, 2 test; all records of a person are in the same part.

    person (n,): any numbers; label (n,): 0..classes-1. Of many random divisions, the one is taken whose parts come
    nearest to their share of every class.
    """
    people, index = np.unique(person, return_inverse=True)
    counts = np.zeros((len(people), classes))
    np.add.at(counts, (index, label), 1)
    return _best_division(counts, who, seed, shares)[index]


def _best_division(counts: Array, who: str, seed: int, shares: Shares) -> Array:
    """Each person's part, (P,), from the records of each class that they have, (P, classes).

    The best division has the least sum over parts and classes of |share obtained - share wanted|, among divisions with
    every class in every part.
    """
    draws = max(1, min(DRAWS, MAX_NUMBERS // len(counts)))
    drawn = np.random.default_rng(seed).random((draws, len(counts)))
    divisions = np.digitize(drawn, np.cumsum(shares)[:-1])  # (division, person) part 0, 1 or 2
    obtained = np.stack([(divisions == p) @ counts for p in range(3)], axis=1)  # (division, part, class)
    score = np.abs(obtained / np.maximum(counts.sum(0), 1) - np.array(shares)[:, None]).sum((1, 2))
    legal = (obtained > 0).all((1, 2))
    if not legal.any():
        return _division_by_rarest_class(counts, drawn[0], who, shares)
    return np.asarray(divisions[np.where(legal, score, np.inf).argmin()])


def _division_by_rarest_class(counts: Array, order: Array, who: str, shares: Shares) -> Array:
    """Each person's part, (P,), where every random division lacked a class: people by the rarest class they have."""
    rarest = np.where(counts > 0, counts.sum(0), np.inf).argmin(1)
    part = divide_by_record(rarest, order, counts.shape[1], shares)
    if all((counts[part == p].sum(0) > 0).all() for p in range(3)):
        return part
    totals = counts.sum(0).astype(int).tolist()
    several = f"every class into every part; records of each class: {totals}"
    wanted = several if len(totals) > 1 else "somebody into every part"
    raise BadInput(f"{who}: no division of the {len(counts)} people was found that puts {wanted}")


def divide_by_record(label: Array, order: Array, classes: int, shares: Shares = SHARES) -> Array:
    """Each record's part, (n,): every class is sorted by the random numbers `order`, (n,), and cut at the shares."""
    part = np.zeros(len(label), np.int64)
    for k in range(classes):
        rows = np.flatnonzero(label == k)
        depth = (np.argsort(np.argsort(order[rows])) + 0.5) / max(len(rows), 1)
        part[rows] = np.digitize(depth, np.cumsum(shares)[:-1])
    return part
