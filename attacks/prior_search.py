"""Prior search (after Li et al. 2023): the latents of a small generator of records, given z and the client's weights.

Behind a deep cut very different images give almost the same message, so that a search over pixels ends at an image that
explains z and is none. Here only what a small generator makes is searched:
1. The generator has the principal components of auxiliary records as its latents (`pieces.latent_prior`). What it
   cannot make of held-out records is noise of the message, beside the noise of the defence that queries show
   (`pieces.learned_channel`). So the likelihood is no sharper than the generator is.
2. The search starts from a decoder's guess (`inverse_network`), from the mean record and from records that are drawn.
   Each start gets a few steps, and for each target the one of least loss on z goes on.
3. Held-out auxiliary records choose the prior's weight and the decoder's share in the final guess.
z (N, *cut) -> guess (N, *in).

Source: after Li, Yang, Liu, Wang, Hu, Yi, Xu, "GAN You See Me? Enhanced Data Reconstruction Attacks against Split
Inference" (GLASS), NeurIPS 2023, section 3.

Differs from the paper:
- The generator is linear, and learned from the few hundred records that an attacker has. The paper's is a StyleGAN.
- The misfit is a likelihood, and so the weights of misfit and prior are not free.
- The guess is a mean of what the search finds and the decoder's guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from splitleak.contract import BadInput, Goal, Grant, View
from splitleak.pieces.map_estimate import SearchAttack, learn


@dataclass(frozen=True)
class PriorSearch(SearchAttack):
    goal = Goal.INPUTS
    needs = Grant.BOTTOM | Grant.SMASHED | Grant.DEFENSE | Grant.AUX | Grant.QUERY

    steps: int = 100  # of the search, from the best start
    learn: int = 2600  # steps of the decoder
    latents: Annotated[int, Field(ge=1)] = 256  # one less than records at most
    restarts: Annotated[int, Field(ge=2)] = 8  # starts
    trial: Annotated[int, Field(ge=1)] = 15  # steps of each start

    def run(self, view: View) -> Tensor:
        if len(view.aux) < 3:
            raise BadInput(
                "attack 'prior_search': it needs three auxiliary records, its generator learns from some and is "
                "tested on others"
            )
        known = learn(view, *self._set_apart(view.aux), self._learner(checks=20))
        return known.guess(known.latents(self.latents, self.steps, self.lr, self.restarts - 2, self.trial))
