"""Scores over people: the linkage of pairs of records, and intervals that resample people, not records.

The records of a person resemble each other, and one record stands in many pairs. So the interval of an AUC is from
bootstrap samples of people: what a person's records add counts as often as the person is drawn, and a pair of two
people as often as the product says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from splitleak.contract import BadInput
from splitleak.pieces.pairs import auc_of_ranks, cosines, one_person, pairs, ranks
from splitleak.score.per_target import auc, tpr_at_fpr
from splitleak.score.similarity import check_finite, plain

RESAMPLES = 200


@dataclass(frozen=True)
class Scored:
    """Scores of records or of pairs, which of them are positive, and the people behind each."""

    score: Tensor  # (n,)
    positive: Tensor  # (n,) bool
    first: Tensor  # (n,) 0 to P - 1: the person, of a pair the first one
    second: Tensor  # (n,) the same of a record; of a pair the second one

    @classmethod
    def records(cls, guess: Tensor, truth: Tensor, person: Tensor) -> Scored:
        """Scores (N,) and answers (N,) of records."""
        place = plain(person).unique(return_inverse=True)[1]
        return cls(plain(guess), plain(truth) == 1, place, place)

    @classmethod
    def pairs(cls, embedding: Tensor, person: Tensor) -> Scored:
        """The cosines of all pairs of embeddings (N, D); positive is a pair of one person."""
        check_finite(plain(embedding))
        place = plain(person).unique(return_inverse=True)[1]
        first, second = pairs(len(place))
        return cls(cosines(embedding), one_person(place), place[first], place[second])

    def ci95(self, generator: np.random.Generator, resamples: int = RESAMPLES) -> float:
        """Half the width of the 95 % bootstrap interval of 2 AUC - 1 over people.

        Samples of people without a positive or without a negative have no AUC and are left out.
        """
        place, first, second = (t.numpy() for t in (self.score.unique(return_inverse=True)[1], self.first, self.second))
        yes, people = self.positive.numpy(), int(first.max()) + 1
        if people < 2:
            raise BadInput("an interval over people needs at least 2 people")
        code = first * people + second
        sides = [(place[side], code[side]) for side in (yes, ~yes)]
        areas = []
        for _ in range(resamples):
            times = np.bincount(generator.integers(people, size=people), minlength=people).astype(float)
            weight = np.outer(times, times)
            np.fill_diagonal(weight, times)  # of one person: a record, or a pair of its records
            ups, downs = (np.bincount(at, weight.ravel()[pair], place.max() + 1) for at, pair in sides)
            if ups.sum() and downs.sum():
                below = downs.cumsum() - downs / 2  # ties count half
                areas.append(float((ups * below).sum()) / (ups.sum() * downs.sum()))  # `@` would wake BLAS's threads
        if not areas:
            raise BadInput("no sample of the people has both answers")
        low, high = np.quantile(2 * np.array(areas) - 1, (0.025, 0.975))
        return float(high - low) / 2


def linkage(embedding: Tensor, person: Tensor, labels: Tensor | None) -> dict[str, float]:
    """LINKAGE: embedding (N, D) and person (N,) of records that differ; the floor is a coin.

    labels (N,): of records with classes also auc_class, the AUC of "both are of one class".
    """
    check_people(person)
    scored = Scored.pairs(embedding, person)
    truth = scored.positive.double()
    area = auc_of_ranks(ranks(scored.score), scored.positive)
    found = {"auc": area, "advantage": 2 * area - 1, "tpr_at_1fpr": tpr_at_fpr(scored.score, truth, 0.01)}
    if labels is not None:
        found["auc_class"] = auc(one_person(plain(labels)).double(), truth)
    return found


def check_people(person: Tensor) -> None:
    """BadInput where no pair is of one person, or none of two."""
    count = person.unique(return_counts=True)[1]
    if len(count) < 2 or int(count.max()) < 2:
        raise BadInput(
            f"goal LINKAGE needs targets of two people or more, of one of them two records: "
            f"{len(person)} targets of {len(count)} people"
        )


def permuted_linkage(rank: Tensor, person: Tensor) -> float:
    """The AUC of pairs by their ranks (n,), for people (N,) in any order: what a permutation test compares."""
    return auc_of_ranks(rank, one_person(person))


def rank_of_pairs(embedding: Tensor) -> Tensor:
    return ranks(cosines(embedding))


def count(person: Tensor | None) -> int | None:
    """How many people there are; None where they are unknown."""
    return None if person is None else int(torch.unique(person).numel())
