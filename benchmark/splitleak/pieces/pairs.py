"""Pairs of records: how well the cosine of two embeddings tells pairs of one person from pairs of two people."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from scipy.stats import rankdata
from torch import Tensor


def cosines(embedding: Tensor) -> Tensor:
    """(N, D) -> (N (N - 1) / 2,): the cosine of each pair, in the order of `pairs`; 0 where a row is zero."""
    unit = F.normalize(embedding.detach().cpu().double().flatten(1), dim=1)
    first, second = pairs(len(unit))
    return (unit @ unit.T)[first, second]


def pairs(n: int) -> tuple[Tensor, Tensor]:
    """The positions of the first and of the second record of each pair: none with itself, each pair once."""
    first, second = torch.triu_indices(n, n, 1)
    return first, second


def one_person(person: Tensor) -> Tensor:
    """(N,) -> (N (N - 1) / 2,): is the pair of one person?"""
    first, second = pairs(len(person))
    return (person[first] == person[second]).cpu()


def ranks(scores: Tensor) -> Tensor:
    """(n,): the place of each score among all, from 1; equal scores share the mean of their places."""
    return torch.from_numpy(rankdata(scores.numpy()))


def auc_of_ranks(rank: Tensor, positive: Tensor) -> float:
    """Area under the ROC curve (Mann and Whitney 1947), from ranks (n,); 0.5 where all are positive, or none."""
    yes = int(positive.sum())
    no = len(rank) - yes
    if not yes or not no:
        return 0.5
    return (float(rank[positive].sum()) - yes * (yes + 1) / 2) / (yes * no)


def linkage_auc(embedding: Tensor, person: Tensor) -> float:
    """The AUC of the cosines of (N, D) over pairs of one person against pairs of two, person (N,)."""
    return auc_of_ranks(ranks(cosines(embedding)), one_person(person))
