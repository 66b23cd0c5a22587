"""A small linear generator of records: their mean, and as many principal components as there are latents.

Records are x = mean + w scales axes with w ~ N(0, 1). What the components leave out is no part of such a record. It is
the generator's error: whoever searches w has to expect that much misfit in the message.

Source: Tipping and Bishop, "Probabilistic Principal Component Analysis", J. R. Stat. Soc. B 61(3), 1999.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True)
class LatentPrior:
    mean: Tensor  # (*in)
    axes: Tensor  # (k, D), orthonormal
    scales: Tensor  # (k,) deviations

    def records(self, w: Tensor) -> Tensor:
        """(N, k) -> (N, *in)."""
        return ((w * self.scales) @ self.axes).view(-1, *self.mean.shape) + self.mean

    def coordinates(self, x: Tensor) -> Tensor:
        """(N, *in) -> (N, k): the latents of the nearest record that the generator makes."""
        return (x - self.mean).flatten(1) @ self.axes.T / self.scales

    def surprise(self, u: Tensor) -> Tensor:
        """(N, D) -> (N,): minus the log density, up to a constant."""
        return u.square().sum(1) / 2


def fit_latent_prior(x: Tensor, latents: int) -> LatentPrior:
    """From records (M, *in); fewer latents where records are few or short."""
    k = max(min(latents, len(x) - 1, prod(x.shape[1:])), 1)
    _, singular, axes = torch.linalg.svd((x - x.mean(0)).flatten(1), full_matrices=False)
    scales = singular[:k] / max(len(x) - 1, 1) ** 0.5
    return LatentPrior(x.mean(0), axes[:k], scales.clamp(min=1e-6 * float(scales[0]) + 1e-12))
