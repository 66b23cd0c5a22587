"""Who may query the client learns its inverse: send own records through, train a decoder from reply to record.

Every batch is asked anew, so under a random defence the decoder learns from fresh noise the mean of what z leaves
open (an adaptive attack; expectation over transformation). z (N, *cut) -> guess (N, *in).

He, Zhang, Lee, "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019, section 5 (black-box). New
here: the schedule, the choice of a moment on held-out auxiliary records, and, where z is small, a dense decoder
averaged with the convolutional one: it gathers what noise has spread over far positions.
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
from splitleak.contract import Attack, Goal, Grant, View
from splitleak.pieces import decode


@dataclass(frozen=True)
class InverseNetwork(Attack):
    goal = Goal.INPUTS
    needs = Grant.QUERY | Grant.AUX | Grant.SMASHED

    steps: int = 2600  # paper: 50 epochs
    batch: int = 32  # paper: 32
    lr: float = 3e-3  # the peak of one cycle; paper: 1e-3, halved every 10 epochs
    width: int = 64  # channels of the decoders
    dense: int = 16384  # largest z and record, in elements, for which there is a dense decoder too; paper: none
    checks: int = 20  # moments to choose from

    def run(self, view: View) -> Tensor:
        aux, n = view.aux, len(view.aux) // 10
        return decode(self.learn(view, aux[n:], aux[: max(n, 1)]), view.smashed)

    def learn(self, view: View, own: Tensor, held: Tensor) -> nn.Module:
        """(B, *cut) -> (B, *in), trained on `own` records; `held` ones choose the moment: (n, *in) each."""
        decoder = self.decoder(view).to(own.device)
        best, chosen = inf, deepcopy(decoder)
        for step in self.fit(decoder, view, own):
            if (step + 1) % max(self.steps // self.checks, 1) == 0:
                error = F.mse_loss(decode(decoder, view.query(held)), held).item()
                if error < best:
                    best, chosen = error, deepcopy(decoder)
        return chosen

    def decoder(self, view: View) -> nn.Module:
        """(B, *cut) -> (B, *in): convolutional, and where both are small the mean of it and a dense one."""
        cut, record = prod(view.cut_shape), prod(view.in_shape)
        parts = [nets.decoder(view.cut_shape, view.in_shape, view.in_range, self.width)]
        if max(cut, record) <= self.dense:
            flat = nets.decoder((cut,), (record,), view.in_range, self.width)
            parts.append(nn.Sequential(nn.Flatten(), flat, nn.Unflatten(1, view.in_shape)))
        return _Mean(parts)

    def fit(self, decoder: nn.Module, view: View, own: Tensor) -> Iterator[int]:
        """Regress records on what the client makes of them, asked anew for each batch."""
        optimizer = torch.optim.Adam(decoder.parameters(), self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=self.steps)
        for step in range(self.steps):
            x = own[torch.randint(len(own), (self.batch,), device=own.device)]  # (B, *in)
            loss = F.mse_loss(decoder.train()(view.query(x)), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            yield step


class _Mean(nn.Module):
    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, z: Tensor) -> Tensor:
        return torch.stack([part(z) for part in self.parts]).mean(0)
