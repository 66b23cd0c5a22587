"""MAP search (after He et al. 2019): the most probable record, given z, the client's weights and a prior.

The attacker searches the record x that minimises the misfit of the message expected for it, plus a prior. It learns
both from auxiliary records alone:
1. Queries show what the defence does to the client's output: noise and its variance, elements that it leaves out or
   rounds, noise tensors that it draws from (`pieces.learned_channel`). Missing elements have no misfit.
2. The prior is a Gaussian with the mean and covariance of the auxiliary records (`pieces.gaussian_prior`).
3. One search starts from a decoder's guess (`inverse_network`), one from the prior's mean. For each target the end
   with the lower loss counts.
4. Held-out auxiliary records choose the prior's weight and the decoder's share in the final guess.
z (N, *cut) -> guess (N, *in).

Source: after He, Zhang, Lee, "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019, section 4.

Differs from the paper:
- The misfit is the likelihood of what the defence sends, not a squared distance from z.
- The prior is fitted to records; there is no total variation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitleak.contract import Attack, BadInput, Goal, Grant, View
from splitleak.pieces import DecoderLearner
from splitleak.pieces.map_estimate import estimate


@dataclass(frozen=True)
class MapSearch(Attack):
    goal = Goal.INPUTS
    needs = Grant.BOTTOM | Grant.SMASHED | Grant.DEFENSE | Grant.AUX | Grant.QUERY

    steps: int = 200  # of the search
    lr: float = 0.2  # the start of a cosine schedule, in deviations of the prior
    learn: int = 1000  # steps of the decoder
    width: int = 64  # channels of the decoder
    held: int = 128  # held-out auxiliary records, at most a tenth of all

    def run(self, view: View) -> Tensor:
        aux = view.aux
        if len(aux) < 2:
            raise BadInput(
                "attack 'map_search': one auxiliary record is not enough, it learns from some and tests on others"
            )
        aux = aux[torch.randperm(len(aux), device=aux.device)]
        held = max(min(self.held, len(aux) // 10), 1)
        learner = DecoderLearner(self.learn, batch=32, lr=3e-3, width=self.width, dense=16384, checks=10)
        return estimate(view, aux[held:], aux[:held], learner, self.steps, self.lr)
