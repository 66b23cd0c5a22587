"""Elements of each message are left out at random, also after training, so that no two messages show the same ones.

He, Zhang, Lee, "Attacking and Protecting Data Privacy in Edge-Cloud Collaborative Inference Systems", IEEE Internet
of Things Journal, 2020.
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

    A fresh draw a message, in training, release and query alike: who may ask twice sees other elements. Which ones
    were left out can be seen, unless z was 0 there itself.
    """

    rate: Annotated[float, Field(ge=0, lt=1)] = 0.6  # paper: from .6 on it hides anything

    def smash(self, z: Tensor) -> Tensor:
        """(B, *cut) -> (B, *cut); the gradient passes through what was sent."""
        return F.dropout(z, self.rate, training=True)  # whatever the mode: nn.Dropout falls silent after training
