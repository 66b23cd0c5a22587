"""The channel of a trained victim: what crosses the wire once more for a record."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from splitleak.contract import Hooks, Records
from splitleak.plan.seeds import Stream
from splitleak.train.loop import exchange
from splitleak.train.party import relabelled
from splitleak.train.victim import Victim


def release(victim: Victim, records: Records, stream: Stream, live: Hooks | None = None) -> dict[str, Tensor]:
    """What crosses once more for these records after training: eval mode, no update, the gradient of each record.

    Batches are always full; the last one is filled up from the start. A noise scale read from a batch of one is zero.
    """
    live = live or victim.live
    records = relabelled(records, live)
    parts: dict[str, list[Tensor]] = {}
    with stream:
        for index, n in filled(len(records), victim.recipe.train.batch_size):
            done = exchange(victim.split, live, victim.data.task, records.x[index], records.y[index], "sum")
            for name in victim.recipe.traffic.messages:
                parts.setdefault(name, []).append(done.wire[name][:n])
    victim.split.zero_grad()
    return {name: torch.cat(ts) for name, ts in parts.items()}


@torch.no_grad()
def send(victim: Victim, x: Tensor, filler: Tensor, live: Hooks | None = None) -> Tensor:
    """x (B, *in) -> (B, *cut) as the client would send it; other records fill up a small batch."""
    live, size = live or victim.live, victim.recipe.train.batch_size
    whole = torch.cat([x, filler[: (-len(x)) % size]])
    missing = (-len(whole)) % size
    if missing:  # too few fillers: repeat the batch itself
        whole = torch.cat([whole, whole[torch.arange(missing, device=x.device) % len(whole)]])
    return torch.cat([live.smash(victim.split.bottom(part)[0]) for part in whole.split(size)])[: len(x)]


def filled(n: int, size: int) -> Iterator[tuple[Tensor, int]]:
    """Batches of exactly `size` positions that cover 0..n-1, each with the number of positions that count."""
    for start in range(0, n, size):
        index = torch.arange(start, start + size) % n
        yield index, min(size, n - start)


def wire_bytes(victim: Victim) -> tuple[int, int]:
    """Bytes up and down for one record each time that it is trained on, from the shapes of what crosses."""
    traffic = victim.recipe.traffic
    if traffic.updates:
        return federated_bytes(victim)
    if not traffic.cut:
        return 0, 0
    batch = victim.data.private.take(torch.arange(2))
    with Stream(0):
        wire = exchange(copy.deepcopy(victim.split), victim.live, victim.data.task, batch.x, batch.y).wire
    size = {name: wire[name][0].numel() * wire[name].element_size() for name in traffic.messages}
    up = sum(size.get(name, 0) for name in ("smashed", "labels", "gradient_features"))
    return up, sum(size.get(name, 0) for name in ("gradient", "features"))


def federated_bytes(victim: Victim) -> tuple[int, int]:
    """All weights up and down for each client and round, divided by the records that the clients train on."""
    recipe, n = victim.recipe, len(victim.data.private)
    settings, clients = recipe.federated, recipe.clients.n
    if settings is None:
        raise ValueError("a federation without settings")
    size = sum(t.numel() * t.element_size() for t in victim.split.state_dict().values() if t.is_floating_point())
    if settings.local_steps is None:
        used = n * settings.local_epochs
    else:
        used = clients * settings.local_steps * (settings.batch_size or recipe.train.batch_size)
    return round(size * clients / used), round(size * clients / used)
