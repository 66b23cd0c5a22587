"""Gaussian noise (Balle & Wang 2018): clip each record's smashed data, add calibrated noise.

What is sent is (epsilon, delta) locally differentially private. The noise is calibrated exactly, also above epsilon 1.

Source: Balle & Wang, "Improving the Gaussian Mechanism for Differential Privacy", ICML 2018, Theorem 8, as
dp-accounting computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from splitleak.contract import Defense, Exposure, Privacy

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Gaussian(Defense):
    """Scales an activation down to L2 norm `clip` and adds N(0, sigma^2): one release is (epsilon, delta)-DP.

    The unit is a record, and neighbours differ in its values (replace), in all copies of it that the training records
    hold: two clipped activations are at most 2 * clip apart, and each copy is a message of its own in every epoch. The
    guarantee is about a record's own messages, given the client's weights. Not counted: what the record does to other
    records' messages, through batch norm or through the weights that it trains; labels; what a u-shaped client sends
    besides z.
    """

    epsilon: Positive = 10.0  # of one release; larger, less noise
    clip: Positive = 10.0  # L2 norm that one record's activation may have
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise of each element, in units of z."""
        return 2 * self.clip * noise_multiplier(self.epsilon, self.delta)

    def smash(self, z: Tensor) -> Tensor:
        """(B, *cut) -> (B, *cut); the gradient passes through the clipping."""
        norm = z.flatten(1).norm(dim=1).clamp(min=self.clip)  # (B,)
        clipped = z * (self.clip / norm).view(-1, *[1] * (z.dim() - 1))
        return torch.add(clipped, torch.randn_like(z), alpha=self.sigma)

    def privacy(self, exposure: Exposure) -> Privacy:
        """k Gaussian messages reveal as much as one with noise sigma / sqrt(k), also if weights change between them."""
        one, k = noise_multiplier(self.epsilon, self.delta), exposure.messages
        whole = composed_epsilon(one / sqrt(k), self.delta) if k else 0.0
        return Privacy(whole, self.delta, self.epsilon, "record", "replace", exposure.copies)


@lru_cache
def noise_multiplier(epsilon: float, delta: float) -> float:
    """The smallest sigma / sensitivity for which one release is (epsilon, delta)-DP."""
    from dp_accounting import get_sigma_gaussian

    return float(get_sigma_gaussian(epsilon, delta))


@lru_cache
def composed_epsilon(multiplier: float, delta: float) -> float:
    """The smallest epsilon of a Gaussian release with this sigma / sensitivity."""
    from dp_accounting import get_epsilon_gaussian

    return float(get_epsilon_gaussian(multiplier, delta))
