"""A training that was killed goes on from its last checkpoint and ends with the same weights, bit for bit.

A checkpoint is written after a whole epoch, every few minutes. It holds all weights, optimisers, orders of records and
random states, and of the live defence both its tensors (if it is an nn.Module) and what its `state` returns.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from splitleak.contract import BadInput, Defense, Hooks
from splitleak.snapshot import load_optimizers, optimizer_tensors, random_state, set_random_state, with_prefix
from splitleak.store import Store
from splitleak.train.averaging import client_tensors
from splitleak.train.loop import Training
from splitleak.train.whole import WholeTraining

EVERY = 120.0  # seconds between two checkpoints: writing one takes about one second


class Checkpoint:
    """A file beside the victim's, `<key>.checkpoint.safetensors`; it exists only while the training is unfinished."""

    def __init__(self, store: Store, key: str, made_by: dict[str, str]) -> None:
        self.store, self.key, self.made_by = store, f"{key}.checkpoint", made_by
        self.spent, self.saved = 0.0, time.monotonic()  # seconds that earlier processes trained; time of the last save

    def restore(self, running: Training | WholeTraining, curve: list[float]) -> None:
        """Put a fresh training where the checkpoint was written; without one of the same source it stays fresh."""
        kept = self.store.victim(self.key) if is_resumable(running.live) else None
        if kept is None or kept[1].get("made_by") != self.made_by:
            return
        tensors, facts = kept
        _load(running, tensors)
        load_live_state(running.live, tensors, facts["defense"])
        running.epochs_done, running.steps_done, running.losses = facts["epochs"], facts["steps"], facts["losses"]
        curve[:] = facts["curve"]
        self.spent = facts["seconds"]
        set_random_state(tensors, facts)

    def save_if_due(self, running: Training | WholeTraining, curve: list[float]) -> None:
        """Write the checkpoint after an epoch, if the last one is `EVERY` seconds old and another epoch follows."""
        now = time.monotonic()
        finished = running.epochs_done == running.settings.epochs
        if now - self.saved < EVERY or finished or not is_resumable(running.live):
            return
        self.spent, self.saved = self.spent + now - self.saved, now
        random_tensors, random_facts = random_state()
        live_tensors, live_facts = live_state(running.live)
        facts: dict[str, Any] = {
            "made_by": self.made_by,
            "epochs": running.epochs_done,
            "steps": running.steps_done,
            "losses": running.losses,
            "curve": curve,
            "seconds": self.spent,
            "defense": live_facts,
        }
        self.store.write_victim(self.key, _tensors(running) | live_tensors | random_tensors, facts | random_facts)

    def delete(self) -> None:
        """When the training has ended."""
        self.store.victim_path(self.key).unlink(missing_ok=True)


def is_resumable(live: Hooks) -> bool:
    """Whether the state of a live defence can be kept: it has none, or says by `state` what it is."""
    return type(live) is Hooks or isinstance(live, Defense) or type(live).state is not Hooks.state


def _tensors(running: Training | WholeTraining) -> dict[str, Tensor]:
    """All that training changes; the server's weights are part of every client's split and are kept once."""
    found = {f"split.{name}": t for name, t in running.split.state_dict().items()}
    for party in running.parties:
        found[f"party.{party.number}.order"] = party.order.get_state()
        if party.split is not running.split:
            found |= {f"party.{party.number}.{name}": t for name, t in client_tensors(party.split).items()}
    return found | optimizer_tensors(_optimizers(running))


def _load(running: Training | WholeTraining, tensors: dict[str, Tensor]) -> None:
    running.split.load_state_dict(with_prefix(tensors, "split."))
    for party in running.parties:
        client = with_prefix(tensors, f"party.{party.number}.")
        party.order.set_state(client.pop("order"))
        party.split.load_state_dict(client, strict=False)  # the server's part is loaded already
    load_optimizers(_optimizers(running), tensors)


def _optimizers(running: Training | WholeTraining) -> list[torch.optim.Optimizer]:
    """Each once: clients may share the server's."""
    return list({id(o): o for party in running.parties for o in party.optimizers}.values())


def live_state(live: Hooks) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that training changes in a live defence: tensors by names that begin with `defense.`, and plain values."""
    module = live.state_dict() if isinstance(live, nn.Module) else {}
    state = live.state()
    plain = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
    for name, value in plain.items():
        if not _is_plain(value):
            raise BadInput(f"defense '{type(live).__module__}': state() returns '{name}', a {type(value).__name__}; "
                           f"it must be a tensor, a number, text, None or a list of these")  # fmt: skip
    found = {f"defense.module.{name}": t for name, t in module.items()}
    return found | {f"defense.state.{name}": t for name, t in state.items() if name not in plain}, plain


def load_live_state(live: Hooks, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    """Give a fresh live defence of the same configuration what `live_state` returned; other tensors are ignored."""
    if isinstance(live, nn.Module):
        live.load_state_dict(with_prefix(tensors, "defense.module."))
    live.load_state(with_prefix(tensors, "defense.state.") | plain)


def _is_plain(value: Any) -> bool:
    """What JSON holds and gives back the same."""
    if isinstance(value, list):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, float | int | str)
