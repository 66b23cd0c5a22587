"""Federations for tests, and the weights that they learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

Stage = Callable[..., Any]


Attempt = Callable[..., Any]


SGD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0, "batch_size": 8}


def fed(**asked: Any) -> dict[str, Any]:
    return {"name": "fedavg", "rounds": 2, "local_epochs": 1} | asked


def learned(scene: Any) -> dict[str, Tensor]:
    return {name.removeprefix("split."): t for name, t in scene.kept.tensors.items()}


def weights_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t for name, t in tensors.items() if t.is_floating_point() and "running" not in name}
