"""A training that is long enough to be killed: kept after an epoch every few minutes, taken up again bit for bit.

Only where the live defence is its own frozen self: one with a state (a proxy, a detector, DP-SGD) starts over.
"""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from splitleak.store import Store
from splitleak.train.averaging import client_tensors
from splitleak.train.loop import Training
from splitleak.train.whole import WholeTraining

EVERY = 120.0  # seconds between two savings: they cost about one


class Halfway:
    """Beside a victim's file another one, with all weights, optimisers and random states after a whole epoch."""

    def __init__(self, store: Store, key: str, made_by: dict[str, str]) -> None:
        self.store, self.key, self.made_by = store, f"{key}.half", made_by
        self.spent, self.saved = 0.0, time.monotonic()  # seconds of earlier runs; when the last was kept

    def resume(self, running: Training | WholeTraining, curve: list[float]) -> None:
        """Put a fresh training where the kept one stood; it stays fresh if there is none, or of another source."""
        kept = self.store.victim(self.key)
        if kept is None or kept[1]["made_by"] != self.made_by:
            return
        tensors, facts = kept
        _load(running, tensors)
        running.epochs_done, running.steps_done, running.losses = facts["epochs"], facts["steps"], facts["losses"]
        curve[:] = facts["curve"]
        self.spent = facts["seconds"]
        set_random_state(tensors, facts)

    def keep(self, running: Training | WholeTraining, curve: list[float]) -> None:
        """After an epoch, if the last time is long ago and another epoch is to come."""
        now = time.monotonic()
        if now - self.saved < EVERY or running.epochs_done == running.settings.epochs:
            return
        self.spent, self.saved = self.spent + now - self.saved, now
        random_tensors, random_facts = random_state()
        facts: dict[str, Any] = {
            "made_by": self.made_by,
            "epochs": running.epochs_done,
            "steps": running.steps_done,
            "losses": running.losses,
            "curve": curve,
            "seconds": self.spent,
        }
        self.store.write_victim(self.key, _tensors(running) | random_tensors, facts | random_facts)

    def done(self) -> None:
        self.store.victim_path(self.key).unlink(missing_ok=True)


def _tensors(running: Training | WholeTraining) -> dict[str, Tensor]:
    """All that moves; the server's weights stand in every client's split, and once is enough."""
    found = {f"split.{name}": t for name, t in running.split.state_dict().items()}
    for party in running.parties:
        found[f"party.{party.number}.order"] = party.order.get_state()
        if party.split is not running.split:
            found |= {f"party.{party.number}.{name}": t for name, t in client_tensors(party.split).items()}
    return found | optimizer_tensors(_optimizers(running))


def _load(running: Training | WholeTraining, tensors: dict[str, Tensor]) -> None:
    running.split.load_state_dict(below(tensors, "split."))
    for party in running.parties:
        mine = below(tensors, f"party.{party.number}.")
        party.order.set_state(mine.pop("order"))
        party.split.load_state_dict(mine, strict=False)  # the server's part is in it already
    load_optimizers(_optimizers(running), tensors)


def _optimizers(running: Training | WholeTraining) -> list[torch.optim.Optimizer]:
    """Each once: clients may share the server's."""
    return list({id(o): o for party in running.parties for o in party.optimizers}.values())


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin so, without that beginning."""
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def optimizer_tensors(optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The state of these optimisers, by their place in the list."""
    found: dict[str, Tensor] = {}
    for i, optimizer in enumerate(optimizers):
        for j, state in optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{i}.{j}.{name}": t for name, t in state.items() if isinstance(t, Tensor)}
    return found


def load_optimizers(optimizers: list[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    """Put optimisers of the same parameters where `optimizer_tensors` found others."""
    for i, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, t in below(tensors, f"optimizer.{i}.").items():
            number, _, what = name.partition(".")
            state.setdefault(int(number), {})[what] = t
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The random state of this process: torch's as tensors, numpy's and python's as plain values."""
    tensors = {"random": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    kind, words, *rest = np.random.get_state()
    return tensors, {"numpy": [kind, np.asarray(words).tolist(), *rest], "python": random.getstate()}


def set_random_state(tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Put this process where `random_state` found one."""
    torch.set_rng_state(tensors["random"])
    if "random.cuda" in tensors and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    np.random.set_state(tuple(facts["numpy"]))
    version, numbers, gauss = facts["python"]
    random.setstate((version, tuple(numbers), gauss))
