"""A prior for each guess: the Gaussian of the records nearest to it. The search goes on with it where it helps.

Records of one person look alike, so that a guess's neighbours among auxiliary records say more than all of them, if
they are of the same person. Whether targets have such neighbours, their own messages tell: a search that sees half of a
message's elements foretells the other half better with a good prior than with a bad one. Held-out auxiliary records do
not tell it, since they have neighbours of the same person in any case.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from splitleak.pieces.gaussian_prior import GaussianPrior
from splitleak.pieces.map_estimate import MapEstimate

NEIGHBOURS = (100, 25)  # of a guess, to choose from, the weaker prior first
WEIGHT = 0.25  # of the local prior: neighbours that are of one person say less than as many of different people
CROSS = 200  # messages that choose
SHRINK = 5  # how many records the evenly spread part of a covariance counts as


@dataclass(frozen=True)
class LocalPrior:
    """A Gaussian of its own for each of N records in the leading components of a common one; the rest is the common."""

    common: GaussianPrior
    centres: Tensor  # (N, k)
    precisions: Tensor  # (N, k, k)

    @property
    def mean(self) -> Tensor:
        """(N, *in)."""
        return self.records(self.centres @ self.common.axes.T)

    def records(self, u: Tensor) -> Tensor:
        return self.common.records(u)

    def coordinates(self, x: Tensor) -> Tensor:
        return self.common.coordinates(x)

    def surprise(self, u: Tensor) -> Tensor:
        leading = u @ self.common.axes
        apart = leading - self.centres
        local = (self.precisions @ apart[:, :, None])[:, :, 0].mul(apart).sum(1)
        return (u.square().sum(1) - leading.square().sum(1) + local) / 2


def fit_local(common: GaussianPrior, records: Tensor, guess: Tensor, neighbours: int) -> LocalPrior:
    """For each guess (N, *in) the Gaussian of the records (M, *in) nearest to it."""
    distance = torch.cdist(guess.flatten(1), records.flatten(1))
    nearest = distance.topk(min(neighbours, len(records)), largest=False).indices
    near = (common.coordinates(records) @ common.axes)[nearest]  # (N, neighbours, k)
    centres = near.mean(1)
    apart = near - centres[:, None]
    spread = apart.square().mean((1, 2)).clamp(min=1e-6)[:, None, None]
    even = spread * torch.eye(apart.shape[2], dtype=near.dtype, device=near.device)
    covariances = (apart.transpose(1, 2) @ apart + SHRINK * even) / (near.shape[1] + SHRINK)
    return LocalPrior(common, centres, torch.linalg.inv(covariances))


def refined(search: MapEstimate, guess: Tensor, y: Tensor, records: Tensor) -> Tensor:
    """(N, *in): the guesses for messages y (N, *cut), searched on with local priors if these foretell y better."""
    chosen = chosen_for(search, y[torch.randperm(len(y), device=y.device)[:CROSS]], records)
    return search_on(search, guess, y, records, chosen) if chosen else guess


def chosen_for(search: MapEstimate, y: Tensor, records: Tensor) -> int:
    """How many neighbours foretell messages best; 0 where the common prior does.

    Half of a message's elements are searched with, and the other half judges. Of what is as good as the best, within
    the standard error, the weakest prior counts: it leaves most of what sets a record apart from its neighbours.
    """
    half = torch.rand(y.shape[1:], device=y.device) < 0.5
    seen = replace(search, channel=replace(search.channel, seen=half))
    judge = replace(search.channel, seen=~half)
    plain = seen.search(search.prior.mean.expand(len(y), *search.prior.mean.shape), y, 1.0)
    ends = [plain, *(search_on(seen, plain, y, records, neighbours) for neighbours in NEIGHBOURS)]
    with torch.no_grad():
        misfits = torch.stack([judge.misfit(search.bottom(x), y) for x in ends])  # (candidates, messages)
    worse = misfits - misfits[misfits.mean(1).argmin()]
    error = worse.std(1) / len(y) ** 0.5
    return (0, *NEIGHBOURS)[int((worse.mean(1) <= error).nonzero()[0])]


def search_on(search: MapEstimate, guess: Tensor, y: Tensor, records: Tensor, neighbours: int) -> Tensor:
    """(N, *in): searched anew with the priors of the guesses, twice, since a better guess has better neighbours.

    From the priors' means: a guess may lie far from its prior where this is narrow, farther than the search gets.
    """
    ends, common = [], cast(GaussianPrior, search.prior)
    for x, sent in zip(guess.split(search.together), y.split(search.together), strict=True):
        for _ in range(2):
            prior = fit_local(common, records, x, neighbours)
            x = replace(search, prior=prior, steps=search.steps // 2).end(prior.mean, sent, WEIGHT)
        ends.append(x)
    return torch.cat(ends)
