"""Oracle (after He et al. 2019): decoder of private pairs, refined with the client's weights.

The upper bound: no real attacker has what it uses, which is other private records (PAIRS), any number of queries
(QUERY) and the client's weights. z (N, *cut) -> guess (N, *in).
1. The decoder of `inverse_network` learns from private records and, where there are any, auxiliary ones. Each batch is
   a new query (replies for images are used a few times) and a multiple of the victim's batch size, so that the
   defence's noise has its right scale (expectation over transformation; the mean of the records that fit z is the
   best guess).
2. Descent on ||f(x) - z||^2 from that guess gives a second guess, which is sharper where nothing was added to z.
Held-out private records choose between the two guesses, and choose the decoder's checkpoint; no target is among them.

Source: after He, Zhang, Lee, "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019, sections 4 and 5.

Differs from the paper:
- Every limit on the attacker's knowledge is removed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import Attack, BadInput, Goal, Grant, View
from splitleak.pieces import DecoderLearner, decode


@dataclass(frozen=True)
class OracleDecoder(Attack):
    goal = Goal.INPUTS
    needs = Grant.PAIRS | Grant.SMASHED | Grant.QUERY | Grant.BOTTOM | Grant.DEFENSE

    steps: int = 2600  # of the decoder
    batch: int = 32  # rounded up to a multiple of the victim's
    lr: float = 3e-3  # the peak of one cycle, annealed by a cosine
    width: int = 64  # channels of the decoders
    dense: int = 16384  # largest z, in values, for which small records have a dense decoder too
    checks: int = 20  # checkpoints to choose from
    held: int = 250  # held-out records, at most a tenth of all
    descent: int = 60  # steps of the second guess

    def run(self, view: View) -> Tensor:
        records, held = self._records(view)
        batch = self.batch + -self.batch % view.batch_size
        learner = DecoderLearner(self.steps, batch, self.lr, self.width, self.dense, self.checks)
        decoder = learner.inverse(view, records, held)
        z, smashed = view.query(held), view.smashed
        decoded = decode(decoder, z)
        if F.mse_loss(self._sharpen(decoded, z, view), held) < F.mse_loss(decoded, held):
            return self._sharpen(decode(decoder, smashed), smashed, view)
        return decode(decoder, smashed)

    def _records(self, view: View) -> tuple[Tensor, Tensor]:
        """(n, *in) to train on (private and auxiliary) and (n, *in) held out (private, if there are any)."""
        private = view.pairs[0]
        aux = view.aux if Grant.AUX in view.grants else private[:0]
        source = private if len(private) > 1 else aux
        if len(source) < 2:
            raise BadInput("attack 'oracle_decoder': no private records beside the targets and no auxiliary ones; "
                           "lower `targets` or set `aux`")  # fmt: skip
        source = source[torch.randperm(len(source), device=source.device)]
        n = max(min(self.held, len(source) // 10), 1)
        return torch.cat([source[n:], *([aux] if source is not aux else [])]), source[:n]

    def _sharpen(self, x: Tensor, z: Tensor, view: View) -> Tensor:
        """(N, *in), (N, *cut) -> (N, *in): descend from x to records that the client sends as z, in slices."""
        return torch.cat([self._descend(a, b, view) for a, b in zip(x.split(250), z.split(250), strict=True)])

    def _descend(self, x: Tensor, z: Tensor, view: View) -> Tensor:
        bottom, (low, high) = view.bottom, view.in_range
        x = x.clone().requires_grad_()
        optimizer = torch.optim.Adam([x], 0.01 * (high - low))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.descent)
        for _ in range(self.descent):
            (x.grad,) = torch.autograd.grad((bottom(x) - z).square().sum(), x)
            optimizer.step()
            schedule.step()
            x.data.clamp_(low, high)
        return x.detach()
