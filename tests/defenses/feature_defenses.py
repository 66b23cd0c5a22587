"""Staged victims and steps for the tests of defences of the smashed data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from splitleak.contract import Bottom, Defense, Grant, Head, Hooks, Records, Split, Task
from splitleak.plan.settings import Clients, Train
from splitleak.score.scene import Scene
from splitleak.train import victim
from splitleak.train.loop import Training
from splitleak.train.victim import Victim

from ..conftest import PLAIN

ONE = Clients()


Stage = Callable[..., Scene]


def spec(defense: Defense) -> dict[str, Any]:
    return {"name": defense.name} | defense.parameters()


def kept(scene: Scene) -> Victim:
    """The staged victim as another process would have it from its file."""
    made = victim.fresh(scene.case, scene.data)
    made.load(scene.kept.tensors)
    return made


def staged(stage: Stage, defense: Defense, **given: Any) -> Victim:
    return kept(stage(**({"model": PLAIN, "defense": spec(defense)} | given)))


def network(*, head: bool = False, n: int = 40) -> tuple[Split, Records, Task]:
    """A small network without anything that mixes records, cut with an in-place layer at either side."""
    torch.manual_seed(3)
    bottom = Bottom(nn.Linear(5, 12), nn.ReLU(inplace=True), nn.Linear(12, 12), nn.LeakyReLU(inplace=True))
    top = nn.Sequential(nn.Linear(12, 16), nn.ReLU(inplace=True), nn.Linear(16, 8 if head else 3))
    split = Split(bottom, top, Head(nn.ReLU(inplace=True), nn.Linear(8, 3)) if head else None).measure((5,))
    x = torch.randn(n, 5)
    return split, Records(x, x[:, :3].argmax(1), torch.arange(n)), Task("classes", 3)


def steps(
    split: Split, records: Records, task: Task, live: Hooks, batch: int = 16, epochs: int = 1, lr: float = 0.01,
    optimizer: str = "adam", clients: Clients = ONE,
) -> list[tuple[Tensor, Tensor]]:  # fmt: skip
    """Train; for every step what the client computed and what crossed."""
    seen: list[Tensor] = []
    handle = split.bottom.register_forward_hook(lambda module, given, made: seen.append(made[0].detach().clone()))
    settings = Train(epochs, batch, lr, optimizer, 0.0)  # type: ignore[arg-type]
    training = Training(split, records, task, live, settings, clients, 0)
    crossed = [step.smashed for step in training.steps(Grant.SMASHED, set())]
    handle.remove()
    return list(zip(seen, crossed, strict=True)) if clients.n == 1 else []
