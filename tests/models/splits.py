"""The same training of a network, plain and split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from splitleak.contract import Grant, Hooks, Model, Protocol, Records, Shape, Split, Task
from splitleak.plan.settings import Clients, Train
from splitleak.train.loop import Training

SEED, BATCH, LR = 5, 4, 1e-3


CLASSES, MASK = Task("classes", 3), Task("mask", 1)


def images(shape: Shape = (3, 32, 32), task: Task = CLASSES) -> Records:
    """Three batches."""
    generator, n = torch.Generator().manual_seed(3), 3 * BATCH
    x = torch.rand(n, *shape, generator=generator)
    y = (x.mean(1, keepdim=True) > 0.5).float() if task.kind == "mask" else torch.arange(n) % task.size
    return Records(x, y, torch.arange(n))


@dataclass(frozen=True)
class Trained:
    """Weights, buffers and the last step's gradients, in the order of the network."""

    tensors: list[Tensor]
    gradients: list[Tensor]

    def same(self, other: Trained) -> bool:
        pairs = zip([*self.tensors, *self.gradients], [*other.tensors, *other.gradients], strict=True)
        return all(torch.equal(a, b) for a, b in pairs)


def left_in(*parts: nn.Module | None) -> Trained:
    there = [part for part in parts if part is not None]
    gradients = [p.grad for part in there for p in part.parameters()]
    assert all(g is not None for g in gradients)
    return Trained([t for part in there for t in part.state_dict().values()], [g for g in gradients if g is not None])


def plainly(network: nn.Module, records: Records, task: Task) -> Trained:
    """Three steps of the loop of every tutorial: nothing in it knows of a cut."""
    optimizer, order = torch.optim.Adam(network.parameters(), LR, fused=True), torch.Generator().manual_seed(SEED)
    network.train()
    for index in torch.randperm(len(records), generator=order).split(BATCH):
        optimizer.zero_grad()
        task.loss(network(records.x[index]), records.y[index]).backward()
        optimizer.step()
    return left_in(network)


def splitly(split: Split, records: Records, task: Task) -> Trained:
    """The same three steps over the wire."""
    training = Training(split, records, task, Hooks(), Train(1, BATCH, LR), Clients(), SEED)
    for _ in training.steps(Grant(0), set()):
        pass
    return left_in(split.bottom, split.top, split.head)


def made(model: Model, cut: int, protocol: Protocol, shape: Shape, task: Task) -> Split:
    torch.manual_seed(1)
    return model.split(shape, task, cut, protocol)


def of_toys(model: Any, **axes: Any) -> dict[str, Any]:
    toys = str(Path(__file__).parents[1] / "toys" / "toy_images.py")
    return {"matrix": {"dataset": [toys], "model": [model]} | axes, "train": {"epochs": 1, "batch_size": 12}}
