"""The channel of a trained victim: what crosses once more for a record, and the same channel without information."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from splitleak.contract import Hooks, Parameters, Records
from splitleak.contract.split import Split
from splitleak.contract.view import Update
from splitleak.plan.seeds import Stream
from splitleak.plan.settings import Federated
from splitleak.train.loop import exchange

if TYPE_CHECKING:
    from splitleak.train.victim import Victim


def release(victim: Victim, records: Records, stream: Stream, live: Hooks | None = None) -> dict[str, Tensor]:
    """What crosses once more for these records after training: eval mode, no update, each record's own gradient.

    Batches are always full (the last one is filled up from the start): a noise scale read from a batch of one is zero.
    """
    live = live or victim.live
    parts: dict[str, list[Tensor]] = {}
    with stream:
        for index, n in filled(len(records), victim.cell.train.batch_size):
            done = exchange(victim.split, live, victim.data.task, records.x[index], records.y[index], "sum")
            for name, t in done.wire.items():
                parts.setdefault(name, []).append(t[:n])
    victim.split.zero_grad()
    return {name: torch.cat(ts) for name, ts in parts.items()}


@torch.no_grad()
def send(victim: Victim, x: Tensor, filler: Tensor, live: Hooks | None = None) -> Tensor:
    """x (B, *in) -> (B, *cut) as the client would send it; a small batch is filled up with other records."""
    live, size = live or victim.live, victim.cell.train.batch_size
    whole = torch.cat([x, filler[: (-len(x)) % size]])
    missing = (-len(whole)) % size
    if missing:  # fewer fillers than needed: repeat the batch itself
        whole = torch.cat([whole, whole[torch.arange(missing, device=x.device) % len(whole)]])
    return torch.cat([live.smash(victim.split.bottom(part)[0]) for part in whole.split(size)])[: len(x)]


def filled(n: int, size: int) -> Iterator[tuple[Tensor, int]]:
    """Batches of exactly `size` indices that cover 0..n-1, with how many of each count."""
    for start in range(0, n, size):
        index = torch.arange(start, start + size) % n
        yield index, min(size, n - start)


def wire_bytes(victim: Victim) -> tuple[int, int]:
    """Bytes up and down for one record, each time that it is trained on, from the shapes of what crosses."""
    if victim.protocol == "central":
        return 0, 0
    if victim.protocol == "fedavg":
        return federated_bytes(victim)
    batch = victim.data.private.take(torch.arange(2))
    with Stream(0):
        wire = exchange(copy.deepcopy(victim.split), victim.live, victim.data.task, batch.x, batch.y).wire
    size = {name: t[0].numel() * t.element_size() for name, t in wire.items()}
    up = sum(size.get(name, 0) for name in ("smashed", "labels", "gradient_features"))
    return up, sum(size.get(name, 0) for name in ("gradient", "features"))


def federated_bytes(victim: Victim) -> tuple[int, int]:
    """All weights each way for each client and round, shared out over the records that it trains on for them."""
    asked, train, n = cast(Federated, victim.cell.federated), victim.cell.train, len(victim.data.private)
    size = sum(t.numel() * t.element_size() for t in victim.split.state_dict().values() if t.is_floating_point())
    clients = victim.cell.clients.n
    if asked.local_steps is None:
        used = n * asked.local_epochs
    else:
        used = clients * asked.local_steps * (asked.batch_size or train.batch_size)
    return round(size * clients / used), round(size * clients / used)


def emptied(update: Update) -> Update:
    """The same update without information: every tensor's change as noise of its own size."""
    after = {}
    for name, was in update.before.items():
        moved = update.after[name] - was
        after[name] = was + moved.square().mean().sqrt() * torch.randn_like(moved)
    return replace(update, after=after)


class NullChannel(Hooks):
    """The same channel without information: noise of the right shape and scale for every message about a record."""

    def __init__(self, live: Hooks, split: Split, reference: Tensor) -> None:
        self.live = live
        with torch.no_grad():
            z = live.smash(split.bottom(reference)[0])
        self.mean, self.std = z.mean(0), z.std(0)

    def smash(self, z: Tensor) -> Tensor:
        return self.mean + self.std * torch.randn_like(z)

    def gradient(self, g: Tensor, y: Tensor) -> Tensor:
        return g.std() * torch.randn_like(g)

    def optimizer(self, client: Split, make: Callable[[Parameters], torch.optim.Optimizer]) -> torch.optim.Optimizer:
        return self.live.optimizer(client, make)

    def batch(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.live.batch(x, y)

    def penalty(self, x: Tensor, z: Tensor, sent: Tensor, y: Tensor) -> Tensor | None:
        return self.live.penalty(x, z, sent, y)

    def observe(self, x: Tensor, sent: Tensor) -> None:
        self.live.observe(x, sent)

    def inspect(self, g: Tensor, y: Tensor) -> None:
        self.live.inspect(g, y)
