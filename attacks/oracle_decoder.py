"""The upper bound: the client's inverse, learned from private records and then held against the client's own weights.

Nobody real has what this has: the other private records (PAIRS), any number of fresh messages for them (QUERY), and
the client's weights. z (N, *cut) -> guess (N, *in).

1. A decoder like `inverse_network`'s regresses records on what is sent for them: private ones and, where there are
   any, auxiliary ones. Each batch is asked anew and is as large as the victim's, so that noise has its right size
   (expectation over transformation; the mean of what z leaves open is the best guess there is).
2. Descent on ||f(x) - z||^2 from there is a second guess, the sharper one where nothing was added to z.
Which of both, and which moment of the decoder, is chosen on private records held out; no target is among them.

After He, Zhang, Lee, "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019, sections 4 and 5, with
every limit on the attacker taken away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.attacks.inverse_network import InverseNetwork
from splitleak.contract import Attack, BadInput, Goal, Grant, View
from splitleak.pieces import decode


@dataclass(frozen=True)
class OracleDecoder(Attack):
    goal = Goal.INPUTS
    needs = Grant.PAIRS | Grant.SMASHED | Grant.QUERY | Grant.BOTTOM | Grant.DEFENSE

    steps: int = 2600  # of the decoder
    batch: int = 32  # rounded up to whole batches of the victim's
    lr: float = 3e-3  # the peak of one cycle, annealed by a cosine
    width: int = 64  # channels of the decoders
    dense: int = 16384  # largest z and record, in elements, for which there is a dense decoder too
    checks: int = 20  # moments to choose from
    held: int = 250  # records to choose on, a tenth of all at most
    descent: int = 60  # steps of the second guess

    def run(self, view: View) -> Tensor:
        own, held = self.records(view)
        batch = self.batch + -self.batch % view.batch_size
        decoder = InverseNetwork(self.steps, batch, self.lr, self.width, self.dense, self.checks).learn(view, own, held)
        sent, smashed = view.query(held), view.smashed
        plain = decode(decoder, sent)
        if F.mse_loss(self.sharpen(plain, sent, view), held) < F.mse_loss(plain, held):
            return self.sharpen(decode(decoder, smashed), smashed, view)
        return decode(decoder, smashed)

    def records(self, view: View) -> tuple[Tensor, Tensor]:
        """To learn from (private and auxiliary), and to choose on (private, if there are any): (n, *in) each."""
        private = view.pairs[0]
        aux = view.aux if Grant.AUX in view.grants else private[:0]
        source = private if len(private) > 1 else aux
        if len(source) < 2:
            raise BadInput("attack 'oracle_decoder': no private records beside the targets and no auxiliary ones")
        source = source[torch.randperm(len(source), device=source.device)]
        n = max(min(self.held, len(source) // 10), 1)
        return torch.cat([source[n:], *([aux] if source is not aux else [])]), source[:n]

    def sharpen(self, x: Tensor, z: Tensor, view: View) -> Tensor:
        """(N, *in), (N, *cut) -> (N, *in): towards what the client would send as z, in slices."""
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
