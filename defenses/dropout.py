"""Dropout (He et al. 2020): leave out random elements of each message, also after training.

Every message is drawn anew, so that no two messages of a record show the same elements.

Source: He, Zhang, Lee, "Attacking and Protecting Data Privacy in Edge-Cloud Collaborative Inference Systems", IEEE
Internet of Things Journal, 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor

from splitleak.contract import Defense


@dataclass(frozen=True)
class Dropout(Defense):
    """Zeroes each element with probability `rate` and scales the others by 1 / (1 - rate), in every message.

    Training, release and query all draw anew: an attacker who queries twice sees other elements. The receiver can see
    which elements were left out, unless z was 0 there itself.
    """

    rate: Annotated[float, Field(ge=0, lt=1)] = 0.6  # paper: it protects only from .6 on

    def smash(self, z: Tensor) -> Tensor:
        """(B, *cut) -> (B, *cut); the gradient passes through the elements that were sent."""
        return F.dropout(z, self.rate, training=True)  # in every mode: nn.Dropout does nothing after training
