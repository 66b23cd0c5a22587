"""A Gaussian fitted to records: their mean, their covariance in the leading components, one variance for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

MOST = 256  # components
FULL = 2048  # values of a record up to which all components are computed
PER_COMPONENT = 10  # records at least for each component


@dataclass(frozen=True)
class GaussianPrior:
    """Records are x = mean + root u with u ~ N(0, 1), root the symmetric square root of the covariance."""

    mean: Tensor  # (*in)
    axes: Tensor  # (D, k) leading components
    deviations: Tensor  # (k,)
    rest: Tensor  # (): deviation along every other direction

    def records(self, u: Tensor) -> Tensor:
        """(N, D) -> (N, *in)."""
        x = self.rest * u + (u @ self.axes * (self.deviations - self.rest)) @ self.axes.T
        return x.view(-1, *self.mean.shape) + self.mean

    def coordinates(self, x: Tensor) -> Tensor:
        """(N, *in) -> (N, D): the inverse."""
        d = (x - self.mean).flatten(1)
        return d / self.rest + (d @ self.axes * (1 / self.deviations - 1 / self.rest)) @ self.axes.T

    def surprise(self, u: Tensor) -> Tensor:
        """(N, D) -> (N,): minus the log density, up to a constant."""
        return u.square().sum(1) / 2


def fit_prior(x: Tensor) -> GaussianPrior:
    """From records (M, *in)."""
    flat, d = x.flatten(1).double(), prod(x.shape[1:])
    centred = flat - flat.mean(0)
    k = max(min(MOST, d, len(x) // PER_COMPONENT), 1)
    if d <= FULL:
        variances, axes = torch.linalg.eigh(centred.T @ centred / max(len(x) - 1, 1))
        variances, axes = variances[-k:], axes[:, -k:]
    else:
        _, singular, axes = torch.pca_lowrank(centred.float(), k, center=False)
        variances, axes = singular.double().square() / max(len(x) - 1, 1), axes.double()
    total = centred.square().sum() / max(len(x) - 1, 1)
    rest = (total - variances.sum()) / (d - k) if d > k else variances.amin()
    least = (1e-6 * total / d).clamp(min=1e-12)
    deviations = variances.clamp(min=float(least)).sqrt()
    return GaussianPrior(
        x.mean(0), axes.to(x.dtype), deviations.to(x.dtype), rest.clamp(min=float(least)).sqrt().to(x.dtype)
    )
