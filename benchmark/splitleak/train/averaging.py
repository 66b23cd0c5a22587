"""Weights that clients hand on to each other or average."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from splitleak.contract import Split


def client_copy(split: Split) -> Split:
    """A client of its own that shares the one top."""
    return Split(copy.deepcopy(split.bottom), split.top, copy.deepcopy(split.head))


def client_tensors(split: Split) -> dict[str, Tensor]:
    """Weights and buffers of the client's parts, by their names in the split."""
    parts = {"bottom": split.bottom} | ({} if split.head is None else {"head": split.head})
    return {f"{name}.{key}": t for name, part in parts.items() for key, t in part.state_dict().items()}


@torch.no_grad()
def load_client(to: Split, source: Split) -> None:
    """Copy one client's weights and buffers to another client, in place, so that its optimiser still moves them."""
    if to is not source:
        for own, other in zip(client_tensors(to).values(), client_tensors(source).values(), strict=True):
            own.copy_(other)


@torch.no_grad()
def average(to: list[Split], splits: list[Split], sizes: list[int]) -> None:
    """Give each split in `to` the mean of the clients' weights and buffers, weighted by their number of records."""
    sources = [list(client_tensors(split).values()) for split in splits]
    targets = [list(client_tensors(split).values()) for split in to]
    for index, copies in enumerate(zip(*sources, strict=True)):
        mean = mean_of(copies, sizes)
        for tensors in targets:
            tensors[index].copy_(mean)


@torch.no_grad()
def mean_of(copies: Sequence[Tensor], sizes: list[int]) -> Tensor:
    """The weighted mean of the clients' copies of one tensor, in double precision; a counter stays a whole number."""
    share = [size / sum(sizes) for size in sizes]
    mean = torch.stack([w * t.double() for w, t in zip(share, copies, strict=True)]).sum(0)
    return mean if copies[0].is_floating_point() else mean.round()
