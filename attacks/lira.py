"""LiRA (Carlini et al. 2022): compare each target's fit with shadows that trained on it and shadows that did not.

phi (N,) is how well the victim fits each target, as a logit; see `pieces.fit_of_records`. The shadows give samples of
phi for each target when it is a member and when it is none. The score is the log of the ratio of both densities.
With few shadows the variance of a target is uncertain. So mean and variance have a normal-inverse-gamma prior, with
parameters from many targets together, and the densities are Student's t: the posterior predictive.

Source: Carlini, Chien, Nasr, Song, Terzis, Tramer, "Membership Inference Attacks From First Principles", S&P 2022,
algorithm 1; the variance as in "BaVarIA", arXiv 2603.11799 (2026); posterior and predictive: Murphy, "Conjugate
Bayesian analysis of the Gaussian distribution" (2007), section 3.
Differs from the paper:
- The prior is fitted by moments, to values less the mean of their target over all shadows: targets differ in difficulty
  far more than members from strangers.
- About 200 targets of like difficulty share a prior. Of heartbeats a network remembers only the hardest tenth, and with
  one prior for all targets the attack finds nothing.
- One query for each target, no augmented ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View
from splitleak.pieces.fit_of_records import fit_of

GROUP = 200  # targets that share a prior
TINY, HUGE = 1e-12, 1e6


@dataclass(frozen=True)
class LiRA(Attack):
    """Under vanilla it reads `labels` and `top`, in a u-shape the gradient of the features."""

    goal = Goal.MEMBERSHIP
    needs = Grant.SHADOWS | Grant.SMASHED | Grant.GRADIENT

    shadows: Annotated[int, Field(ge=4, le=256, multiple_of=2)] = 16  # trained victims; half of them on each target

    def run(self, view: View) -> Tensor:
        shadows = view.shadows
        phi = torch.stack([fit_of(shadow, view) for shadow in shadows])  # (S, N)
        member = torch.stack([shadow.trained_on for shadow in shadows])  # (S, N)
        center = phi.mean(0)  # (N,) how easy each target is
        own, phi = fit_of(view, view) - center, phi - center
        score = torch.empty_like(center)
        for alike in center.argsort().tensor_split(max(1, len(center) // GROUP)):  # targets of one prior
            samples, chosen = phi[:, alike], member[:, alike]
            score[alike] = density(own[alike], half(samples, chosen)) - density(own[alike], half(samples, ~chosen))
        return score


def half(phi: Tensor, chosen: Tensor) -> Tensor:
    """(S / 2, N): for each target the values of the S / 2 shadows that are chosen for it."""
    return phi.T[chosen.T].view(phi.shape[1], -1).T


def density(own: Tensor, values: Tensor) -> Tensor:
    """(N,): log density of own (N,) given values (n, N), under a normal-inverse-gamma prior fitted to all of them."""
    n, mean, variance = len(values), values.mean(0), values.var(0)
    m0, k0, a0, b0 = prior(n, mean, variance)
    k, a = k0 + n, a0 + n / 2
    m = (k0 * m0 + n * mean) / k
    b = b0 + variance * (n - 1) / 2 + k0 * n * (mean - m0).square() / (2 * k)
    predictive = torch.distributions.StudentT(2 * a, m, (b * (k + 1) / (a * k)).sqrt())
    found: Tensor = predictive.log_prob(own)
    return found


def prior(n: int, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """m0, k0, a0, b0 by moments from each target's mean and variance (N,) of n values.

    The spread of the variances beyond that of estimates from n normal values gives a0, and the spread of the means
    beyond variance / n gives k0.
    """
    usual = variance.mean().clamp(min=TINY)
    spread = (variance.var() - 2 * usual**2 / (n - 1)) / (1 + 2 / (n - 1))  # of the true variances
    a0 = 2 + (usual**2 / spread.clamp(min=TINY)).clamp(max=HUGE)
    k0 = (usual / (mean.var() - usual / n).clamp(min=TINY)).clamp(max=HUGE)
    return mean.mean(), k0, a0, usual * (a0 - 1)
