"""Where the attributes of a shadow victim come from."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from splitleak.plan.seeds import Stream
from splitleak.score import channel
from splitleak.score.scene import Scene
from splitleak.train import shadows
from splitleak.train.victim import Victim, fresh


def shadow_sources(scene: Scene, number: int) -> dict[str, Callable[[], Any]]:
    """Each attribute of one shadow with its source. Its messages are made when the first of them is read."""
    cell, messages = scene.cell.victims[1 + number], dict[str, torch.Tensor]()

    def victim() -> Victim:
        made = fresh(replace(scene.case, cell=cell), scene.data)
        made.load(scene.shadows[number].tensors)
        return made

    def message(name: str) -> torch.Tensor:
        if not messages:
            messages.update(channel.release(victim(), scene.sent, Stream(cell.seeds.of("release"))))
        return messages[name]

    sources: dict[str, Callable[[], Any]] = {name: partial(message, name) for name in cell.traffic.messages}
    sources["top"] = lambda: copy.deepcopy(victim().split.top)
    sources["trained_on"] = lambda: torch.isin(scene.sent.id, shadows.trained_on(cell, scene.data))
    return sources
