"""Snapshots of what training changes beside weights: the state of optimisers and of random number generators.

Tensors go into one flat dictionary, whose names begin with what they belong to: `optimizer.0.1.exp_avg` is Adam's
first moment of parameter 1 in optimiser 0. For training, the wire, and defences that have an optimiser themselves.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, under the rest of their names."""
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def optimizer_tensors(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The state of these optimisers, named by their place in the list."""
    found: dict[str, Tensor] = {}
    for i, optimizer in enumerate(optimizers):
        for j, state in optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{i}.{j}.{name}": t for name, t in state.items() if isinstance(t, Tensor)}
    return found


def load_optimizers(optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    """Give fresh optimisers of the same parameters the state that `optimizer_tensors` returned."""
    for i, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, t in with_prefix(tensors, f"optimizer.{i}.").items():
            number, _, what = name.partition(".")
            state.setdefault(int(number), {})[what] = t
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The random state of this process: torch's as tensors, numpy's and Python's as plain values."""
    tensors = {"random": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    kind, words, *rest = np.random.get_state()
    return tensors, {"numpy": [kind, np.asarray(words).tolist(), *rest], "python": random.getstate()}


def set_random_state(tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Give this process the random state that `random_state` returned."""
    torch.set_rng_state(tensors["random"])
    if "random.cuda" in tensors and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    np.random.set_state(tuple(facts["numpy"]))
    version, numbers, gauss = facts["python"]
    random.setstate((version, tuple(numbers), gauss))
