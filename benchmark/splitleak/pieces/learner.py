"""The training of a decoder on the client's replies to queries; for records, and for labels, masks and values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from math import inf, prod
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Shape, View
from splitleak.pieces.decoding import decode, query_batches
from splitleak.pieces.effort import affordable, is_large

Size = Literal["P", "S", "M", "L", "XL"]
Loss = Callable[[Tensor, Tensor], Tensor]  # (output, truth) -> ()
Pairs = tuple[Tensor, Tensor]  # records (n, *in), and what the decoder should output for each (n, *out)

BLOCKS = {"M": 2, "L": 4, "XL": 8}  # residual blocks at the cut


@dataclass(frozen=True)
class DecoderLearner:
    """Makes a decoder, trains it on queried pairs and keeps the checkpoint with the lowest held-out error."""

    steps: int  # a quarter of them for large records (`effort`)
    batch: int
    lr: float  # the peak of one cycle
    width: int  # channels
    dense: int  # largest z, in values, for which outputs that are not large have a dense decoder too
    checks: int  # checkpoints to choose from
    size: Size = "M"

    def inverse(self, view: View, records: Tensor, held: Tensor) -> nn.Module:
        """(B, *cut) -> (B, *in), trained on records (n, *in); the held-out ones choose the checkpoint."""
        decoder = self.decoder(view.cut_shape, view.in_shape, view.in_range)
        return self.train(decoder, view, (records, records), (held, held), F.mse_loss)

    def decoder(self, cut_shape: Shape, out_shape: Shape, out_range: tuple[float, float] | None) -> nn.Module:
        """(B, *cut) -> (B, *out), untrained: convolutional; where both are small, the mean of it and a dense one."""
        if self.size == "P":
            return nets.exact_decoder(cut_shape, out_shape, out_range, self.width)
        if self.size == "S":
            return nets.light_decoder(cut_shape, out_shape, out_range, self.width)
        cut, out = prod(cut_shape), prod(out_shape)
        image = len(out_shape) == 3
        inner = None if image else out_range  # the mean of two images is clamped, not each of them
        parts = [nets.decoder(cut_shape, out_shape, inner, self.width, BLOCKS[self.size], full=self.size != "M")]
        if max(cut, out) <= self.dense and not is_large(out_shape):
            dense = nets.decoder((cut,), (out,), inner, self.width)
            parts.append(nn.Sequential(nn.Flatten(), dense, nn.Unflatten(1, out_shape)))
        return nn.Sequential(Mean(parts), nets.Clamped(*out_range)) if image and out_range else Mean(parts)

    def train(self, decoder: nn.Module, view: View, pairs: Pairs, held: Pairs, loss: Loss) -> nn.Module:
        """The decoder at its best checkpoint: the one with the lowest loss on the held-out pairs."""
        decoder = decoder.to(pairs[0].device)
        best, lowest = deepcopy(decoder), inf
        steps = affordable(self.steps, view.in_shape)
        for step in self._descend(decoder, view, pairs, loss, steps):
            if (step + 1) % max(steps // self.checks, 1) == 0:
                error = loss(decode(decoder, view.query(held[0])), held[1]).item()
                if error < lowest:
                    best, lowest = deepcopy(decoder), error
        return best

    def _descend(self, decoder: nn.Module, view: View, pairs: Pairs, loss: Loss, steps: int) -> Iterator[int]:
        """Train the decoder, and yield the number of each step after it is made."""
        records, truth = pairs
        optimizer = torch.optim.Adam(decoder.parameters(), self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=steps)
        batches = query_batches(view, records, self.batch)
        for step in range(steps):
            z, rows = next(batches)
            error = loss(decoder.train()(z), truth[rows])
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            schedule.step()
            yield step


class Mean(nn.Module):
    """The mean of several decoders' outputs."""

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, z: Tensor) -> Tensor:
        return torch.stack([part(z) for part in self.parts]).mean(0)
