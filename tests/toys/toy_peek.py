"""The mean over the channels of the smashed data, stretched to a record's length."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View


@dataclass(frozen=True)
class ToyPeek(Attack):
    """Works a little, at once, and draws nothing at random."""

    goal, needs = Goal.INPUTS, Grant.SMASHED

    def run(self, view: View) -> Tensor:
        z = view.smashed.mean(1, keepdim=True)  # (N, 1, length at the cut)
        return F.interpolate(z, view.in_shape[-1]).clamp(*view.in_range)
