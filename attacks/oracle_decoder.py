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

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from math import inf, prod

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Attack, BadInput, Goal, Grant, View


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
        decoder = self.decoder(view).to(own.device)
        best, chosen = inf, deepcopy(decoder)
        for step in self.fit(decoder, view, own):
            if (step + 1) % max(self.steps // self.checks, 1) == 0:
                error = F.mse_loss(decode(decoder, view.query(held)), held).item()
                if error < best:
                    best, chosen = error, deepcopy(decoder)
        sent, smashed = view.query(held), view.smashed
        plain = decode(chosen, sent)
        if F.mse_loss(self.sharpen(plain, sent, view), held) < F.mse_loss(plain, held):
            return self.sharpen(decode(chosen, smashed), smashed, view)
        return decode(chosen, smashed)

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

    def decoder(self, view: View) -> nn.Module:
        """(B, *cut) -> (B, *in): convolutional, and where both are small the mean of it and a dense one."""
        cut, record = prod(view.cut_shape), prod(view.in_shape)
        parts = [nets.decoder(view.cut_shape, view.in_shape, view.in_range, self.width)]
        if max(cut, record) <= self.dense:
            flat = nets.decoder((cut,), (record,), view.in_range, self.width)
            parts.append(nn.Sequential(nn.Flatten(), flat, nn.Unflatten(1, view.in_shape)))
        return _Mean(parts)

    def fit(self, decoder: nn.Module, view: View, own: Tensor) -> Iterator[int]:
        """Regress records on what the client sends for them, asked anew for each batch."""
        batch = self.batch + -self.batch % view.batch_size
        optimizer = torch.optim.Adam(decoder.parameters(), self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=self.steps)
        for step in range(self.steps):
            x = own[torch.randint(len(own), (batch,), device=own.device)]  # (B, *in)
            loss = F.mse_loss(decoder.train()(view.query(x)), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            yield step

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


class _Mean(nn.Module):
    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, z: Tensor) -> Tensor:
        return torch.stack([part(z) for part in self.parts]).mean(0)


@torch.no_grad()
def decode(decoder: nn.Module, z: Tensor) -> Tensor:
    """(N, *cut) -> (N, *in), in eval mode and in slices."""
    decoder.eval()
    return torch.cat([decoder(part) for part in z.split(256)])
