"""Laplace noise as wide as each activation's range over the batch, divided by epsilon.

Abuadbba et al., "Can We Use Split Learning on 1D CNN Models for Privacy Preserving Training?", AsiaCCS 2020,
with its code's constants (SharifAbuadbba/split-learning-1D, 23124c6).
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

    This is NOT differential privacy, whatever its parameter is called, and `privacy` claims none: the range is
    read from the very batch it should hide, so one record changes the noise itself; nothing bounds what a
    record may send; epsilon is spent on every element anew, and again in every epoch, and the published number
    adds none of it up. In a batch of one the range is 0 and so, nearly, is the noise. The gradient passes
    straight through.
    """

    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0  # published: 10, 5, 1; larger, less noise

    def smash(self, z: Tensor) -> Tensor:
        """(B, *cut) -> (B, *cut)."""
        flat = z.detach()
        scale = (flat.amax(0) - flat.amin(0)).clamp(min=1e-5) / self.epsilon  # (*cut): b, the noise's mean size
        up, down = torch.empty_like(flat).exponential_(), torch.empty_like(flat).exponential_()
        return z + scale * (up - down)  # the difference of two exponentials is Laplace of scale 1
