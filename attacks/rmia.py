"""RMIA (Zarifzadeh et al. 2024): compare each target's likelihood ratio with the ratios of a population.

p(x | victim) is the probability that the victim gives to a target, the inverse logit of `pieces.fit_of_records`, and
p(x) its mean over the shadows, half of which trained on x. The ratio is r(x) = p(x | victim) / p(x). The score of x is
the share of the population with r(x) > gamma r(z). Two shadows are enough.

Source: Zarifzadeh, Liu, Shokri, "Low-Cost High-Power Membership Inference Attacks", ICML 2024.
Differs from the paper:
- The population is the targets, since no other record's messages are at hand. Any population gives the same order, as
  the score only rises with r(x); it decides which targets are tied.
- gamma = 1, where every target has a score of its own. With the paper's 2 a network that fits well ties most targets:
  4000 heartbeats had 89 different scores, at the same AUC.
- Probabilities as they are, without a temperature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View
from splitleak.pieces.fit_of_records import fit_of


@dataclass(frozen=True)
class RMIA(Attack):
    """Under vanilla it reads `labels` and `top`, in a u-shape the gradient of the features."""

    goal = Goal.MEMBERSHIP
    needs = Grant.SHADOWS | Grant.SMASHED | Grant.GRADIENT

    shadows: Annotated[int, Field(ge=2, le=256, multiple_of=2)] = 16  # trained victims; half of them on each target
    gamma: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0  # by how much a ratio must exceed another one

    def run(self, view: View) -> Tensor:
        p = torch.stack([F.logsigmoid(fit_of(shadow, view)) for shadow in view.shadows])  # (S, N) log p(x | shadow)
        ratio = F.logsigmoid(fit_of(view, view)) - (p.logsumexp(0) - math.log(len(p)))  # (N,) log r(x)
        below = torch.searchsorted(ratio.sort().values, ratio - math.log(self.gamma))  # population with a smaller ratio
        return below.double() / len(ratio)
