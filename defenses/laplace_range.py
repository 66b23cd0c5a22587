"""Laplace by range (Abuadbba et al. 2020): noise as wide as each activation's range / epsilon.

Each element of the smashed data gets Laplace noise; its scale is the range of that element over the batch, divided by
epsilon.

Source: Abuadbba et al., "Can We Use Split Learning on 1D CNN Models for Privacy Preserving Training?", AsiaCCS 2020,
with the constants of its code (SharifAbuadbba/split-learning-1D, 23124c6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from splitleak.contract import Defense


@dataclass(frozen=True)
class LaplaceRange(Defense):
    """Adds Laplace noise of scale max(max - min of the element over the batch, 1e-5) / epsilon to each element.

    This is NOT differential privacy, although its parameter is called epsilon, and `privacy` claims none. The range is
    read from the very batch that it should hide, so one record changes the noise itself. Nothing bounds what a record
    may send. epsilon is spent on every element anew, and again in every epoch, and the published number adds none of
    this up. In a batch of one the range is 0 and so, nearly, is the noise. The gradient passes straight through.
    """

    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0  # published: 10, 5, 1; larger, less noise

    def smash(self, z: Tensor) -> Tensor:
        """(B, *cut) -> (B, *cut)."""
        flat = z.detach()
        scale = (flat.amax(0) - flat.amin(0)).clamp(min=1e-5) / self.epsilon  # (*cut): b, the noise's mean size
        up, down = torch.empty_like(flat).exponential_(), torch.empty_like(flat).exponential_()
        return z + scale * (up - down)  # the difference of two exponentials is Laplace of scale 1
