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
from splitleak.training import Training, client_tensors

EVERY = 120.0  # seconds between two savings: they cost about one


class Halfway:
    """Beside a victim's file another one, with all weights, optimisers and random states after a whole epoch."""

    def __init__(self, store: Store, key: str, made_by: dict[str, str]) -> None:
        self.store, self.key, self.made_by = store, f"{key}.half", made_by
        self.spent, self.saved = 0.0, time.monotonic()  # seconds of earlier runs; when the last was kept

    def resume(self, running: Training, curve: list[float]) -> None:
        """Put a fresh training where the kept one stood; it stays fresh if there is none, or of another source."""
        kept = self.store.victim(self.key)
        if kept is None or kept[1]["made_by"] != self.made_by:
            return
        tensors, facts = kept
        _load(running, tensors)
        running.epochs_done, running.steps_done, running.losses = facts["epochs"], facts["steps"], facts["losses"]
        curve[:] = facts["curve"]
        self.spent = facts["seconds"]
        np.random.set_state(tuple(facts["numpy"]))
        version, numbers, gauss = facts["python"]
        random.setstate((version, tuple(numbers), gauss))

    def keep(self, running: Training, curve: list[float]) -> None:
        """After an epoch, if the last time is long ago and another epoch is to come."""
        now = time.monotonic()
        if now - self.saved < EVERY or running.epochs_done == running.settings.epochs:
            return
        self.spent, self.saved = self.spent + now - self.saved, now
        kind, words, *rest = np.random.get_state()
        facts: dict[str, Any] = {
            "made_by": self.made_by,
            "epochs": running.epochs_done,
            "steps": running.steps_done,
            "losses": running.losses,
            "curve": curve,
            "seconds": self.spent,
            "numpy": [kind, np.asarray(words).tolist(), *rest],
            "python": random.getstate(),
        }
        self.store.write_victim(self.key, _tensors(running), facts)

    def done(self) -> None:
        self.store.victim_path(self.key).unlink(missing_ok=True)


def _tensors(running: Training) -> dict[str, Tensor]:
    """All that moves; the server's weights stand in every client's split, and once is enough."""
    found = {"random": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        found["random.cuda"] = torch.cuda.get_rng_state()
    for name, t in running.split.state_dict().items():
        found[f"split.{name}"] = t
    for party in running.parties:
        found[f"party.{party.number}.order"] = party.order.get_state()
        if party.split is not running.split:
            found |= {f"party.{party.number}.{name}": t for name, t in client_tensors(party.split).items()}
    for i, optimizer in enumerate(_optimizers(running)):
        for j, state in optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{i}.{j}.{name}": t for name, t in state.items() if isinstance(t, Tensor)}
    return found


def _load(running: Training, tensors: dict[str, Tensor]) -> None:
    def below(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}

    running.split.load_state_dict(below("split."))
    for party in running.parties:
        mine = below(f"party.{party.number}.")
        party.order.set_state(mine.pop("order"))
        party.split.load_state_dict(mine, strict=False)  # the server's part is in it already
    for i, optimizer in enumerate(_optimizers(running)):
        state: dict[int, dict[str, Tensor]] = {}
        for name, t in below(f"optimizer.{i}.").items():
            number, _, what = name.partition(".")
            state.setdefault(int(number), {})[what] = t
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["random"])
    if "random.cuda" in tensors and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(tensors["random.cuda"])


def _optimizers(running: Training) -> list[torch.optim.Optimizer]:
    """Each once: clients may share the server's."""
    return list({id(o): o for party in running.parties for o in party.optimizers}.values())
