"""A client in training: its part of the network, its records in their order, and the optimisers of its turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from splitleak.contract import Hooks, Records, Split
from splitleak.plan.settings import Train
from splitleak.train.augment import varied


class Party:
    """One client. `split` holds its own parts and the shared top."""

    def __init__(self, number: int, split: Split, records: Records, settings: Train, seed: int) -> None:
        self.number, self.split, self.records = number, split, records
        self.optimizers: list[torch.optim.Optimizer] = []
        self.order = torch.Generator().manual_seed(seed + number)
        self.settings = settings

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches (x, y) of one epoch, in an order that depends on the seed alone."""
        for x, y, _ in self.drawn():
            yield x, y

    def drawn(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The same batches, each with the positions of its records."""
        order = torch.randperm(len(self.records), generator=self.order).to(self.records.x.device)
        for index in batched(order, self.settings.batch_size):
            x, y = self.records.x[index], self.records.y[index]
            yield *varied(x, y, self.settings.flip, self.settings.augment, self.order), index


def relabelled(records: Records, live: Hooks) -> Records:
    """The records of a client with the labels that its defence lets it train on and send."""
    y = live.labels(records)
    return records if y is records.y else replace(records, y=y)


def batched(order: Tensor, size: int) -> list[Tensor]:
    """Cut an epoch's order into batches. A last single record joins the batch before: it has no norm and no range."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts
