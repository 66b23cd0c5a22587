"""Oracle (after He et al. 2019): MAP search with private records, any number of queries and the client's weights.

The upper bound: no real attacker has what it uses. It is `map_search` with every limit on its knowledge removed: it
learns the decoder, the prior and what the defence does from private records (PAIRS) and, where there are any, auxiliary
ones. Held-out private records choose the prior's weight, and the decoder's share in the final guess; no target is among
them. The bound of earlier tables, `oracle_decoder`, is a decoder without a prior. z (N, *cut) -> guess (N, *in).

Source: after He, Zhang, Lee, "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019, sections 4 and 5.

Differs from the paper:
- Every limit on the attacker's knowledge is removed.
- The misfit is the likelihood of what the defence sends; the prior is fitted to records.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitleak.contract import BadInput, Goal, Grant, View
from splitleak.pieces.local_prior import refined
from splitleak.pieces.map_estimate import SearchAttack, learn


@dataclass(frozen=True)
class Oracle(SearchAttack):
    goal = Goal.INPUTS
    needs = Grant.PAIRS | Grant.SMASHED | Grant.QUERY | Grant.BOTTOM | Grant.DEFENSE

    steps: int = 250  # of the search
    learn: int = 2600  # steps of the decoder
    held: int = 250  # held-out records, at most a tenth of all

    def run(self, view: View) -> Tensor:
        batch = 32 + -32 % view.batch_size  # a multiple of the victim's: the defence's noise has its right scale
        known = learn(view, *self._records(view), self._learner(batch, checks=20))
        searches = [known.pixels(self.steps, self.lr)]
        if len(view.in_shape) == 3:
            searches.append(known.latents(256, 100, self.lr, drawn=6, trial=15))  # as `prior_search`
        return refined(searches[0], known.guess(*searches), view.smashed, known.records)

    def _records(self, view: View) -> tuple[Tensor, Tensor]:
        """(n, *in) to learn from (private and auxiliary) and (m, *in) held out (private, if there are any)."""
        private = view.pairs[0]
        aux = view.aux if Grant.AUX in view.grants else private[:0]
        source, other = (private, aux) if len(private) > 1 else (aux, private[:0])
        if len(source) < 2:
            raise BadInput("attack 'oracle': no private records beside the targets and no auxiliary ones; "
                           "lower `targets` or set `aux`")  # fmt: skip
        learned, held = self._set_apart(source)
        mixed = torch.cat([learned, other])
        return mixed[torch.randperm(len(mixed), device=mixed.device)], held
