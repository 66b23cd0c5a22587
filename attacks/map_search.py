"""MAP search (after He et al. 2019): the most probable record, given z, the client's weights and a prior.

The attacker searches the record x that minimises the misfit of the message expected for it, plus a prior. It learns
both from auxiliary records alone:
1. Queries show what the defence does to the client's output: noise and its variance, elements that it leaves out or
   rounds, noise tensors that it draws from (`pieces.learned_channel`). Missing elements have no misfit.
2. The prior is a Gaussian with the mean and covariance of the auxiliary records (`pieces.gaussian_prior`).
3. One search starts from a decoder's guess (`inverse_network`), one from the prior's mean. For each target the end
   with the lower loss counts.
4. Held-out auxiliary records choose the prior's weight and the decoder's share in the guess.
5. If the targets' own messages show that it helps, the search goes on from there, for each target with a prior of its
   own: the Gaussian of the auxiliary records nearest to the guess (`pieces.local_prior`).
z (N, *cut) -> guess (N, *in).

Source: after He, Zhang, Lee, "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019, section 4.

Differs from the paper:
- The misfit is the likelihood of what the defence sends, not a squared distance from z.
- The priors are fitted to records; there is no total variation.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from splitleak.contract import BadInput, Goal, Grant, View
from splitleak.pieces.local_prior import refined
from splitleak.pieces.map_estimate import SearchAttack, learn


@dataclass(frozen=True)
class MapSearch(SearchAttack):
    goal = Goal.INPUTS
    needs = Grant.BOTTOM | Grant.SMASHED | Grant.DEFENSE | Grant.AUX | Grant.QUERY

    def run(self, view: View) -> Tensor:
        aux = view.aux
        if len(aux) < 2:
            raise BadInput(
                "attack 'map_search': one auxiliary record is not enough, it learns from some and tests on others"
            )
        known = learn(view, *self._set_apart(aux), self._learner())
        search = known.pixels(self.steps, self.lr)
        return refined(search, known.guess(search), view.smashed, known.records)
