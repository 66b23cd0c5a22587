"""Batches of queries to the client, the inverse of a surrogate client, and decoding in slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import View

MOST_VALUES = 2**26  # of z in one query of images: 256 MiB


def invert_surrogate(send: Callable[[Tensor], Tensor], view: View, steps: int, batch: int, width: int) -> nn.Module:
    """A decoder (B, *cut) -> (B, *in), trained on what a surrogate client sends for the auxiliary records."""
    aux = view.aux
    decoder = nets.decoder(view.cut_shape, view.in_shape, view.in_range, width).to(aux.device)
    optimizer = torch.optim.Adam(decoder.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for _ in range(steps):
        x = aux[torch.randint(len(aux), (batch,), device=aux.device)]  # (B, *in)
        with torch.no_grad():
            z = send(x)
        loss = F.mse_loss(decoder(z), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return decoder


def query_batches(view: View, records: Tensor, batch: int, reuse: int = 4) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless pairs (z (B, *cut), rows of `records` (B,)): what the client sends for records (n, *in) drawn at random.

    For signals and flat records each batch is a new query. For images a query costs more than the attacker's own step,
    because it passes through a deep client; there the replies to one large query serve for `reuse` passes over it.
    """
    return _new_queries(view, records, batch) if len(view.in_shape) < 3 else _kept_replies(view, records, batch, reuse)


def _new_queries(view: View, records: Tensor, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        rows = torch.randint(len(records), (batch,), device=records.device)
        yield view.query(records[rows]), rows


def _kept_replies(view: View, records: Tensor, batch: int, reuse: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One query holds at most MOST_VALUES values of z.

    Once two queries of all records, each in another order, give equal replies, nothing in a reply is random or depends
    on the batch. From then on the replies are kept for good.
    """
    most, constant, previous = max(MOST_VALUES // prod(view.cut_shape), batch), False, None
    while True:
        if not constant:
            rows = torch.randperm(len(records), device=records.device)[:most]
            z = view.query(records[rows])  # (n, *cut)
            if len(rows) == len(records):
                z, rows = z[rows.argsort()], rows.sort().values
                constant, previous = previous is not None and torch.allclose(previous, z, rtol=1e-3, atol=1e-4), z
        for _ in range(max(reuse * len(rows) // batch, 1)):
            i = torch.randint(len(rows), (batch,), device=records.device)
            yield z[i], rows[i]


@torch.no_grad()
def decode(decoder: nn.Module, z: Tensor) -> Tensor:
    """(N, *cut) -> (N, *in), in eval mode and in slices of 256."""
    decoder.eval()
    return torch.cat([decoder(part) for part in z.split(256)])
