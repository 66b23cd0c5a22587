"""One point of the matrix, with all defaults filled in; its key is the hash of what it says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from splitleak.contract import Protocol
from splitleak.plan.settings import Clients, Evaluate, Federated, Train

SCHEMA = 1
Spec = dict[str, Any]  # {"name": ..., parameter: value}
LATER = (
    ("train", "loss", "own"),
    ("train", "flip", "none"),
    ("train", "augment", False),
    ("clients", "skew", None),
)  # younger than schema 1: not said where they are as before
VICTIM = ("dataset", "model", "cut", "protocol", "federated", "clients", "defense", "seed", "train")


@dataclass(frozen=True)
class Cell:
    """A victim (dataset to seed), and who attacks it how. `skip` says why a cell is not legal."""

    train: Train
    evaluate: Evaluate
    dataset: Spec = field(default_factory=dict)
    model: Spec = field(default_factory=dict)
    cut: int | None = None
    protocol: Protocol = "vanilla"
    federated: Federated | None = None  # of protocol `fedavg`
    clients: Clients = field(default_factory=Clients)
    defense: Spec = field(default_factory=dict)
    seed: int = 0
    threat: str = "eavesdropper"
    aux: Spec = field(default_factory=dict)
    attack: Spec = field(default_factory=dict)
    goal: str = "inputs"
    null: bool = False  # with its null twin: the first seed of a matrix
    tampers: bool = False
    skip: str | None = None

    def resolved(self) -> dict[str, Any]:
        """The cell as plain values, with the schema number."""
        whole = asdict(self)
        del whole["skip"]
        for part, name, usual in LATER:
            if whole[part][name] == usual:
                del whole[part][name]
        if self.federated is None:
            del whole["federated"]
        return {"schema": SCHEMA} | whole

    @property
    def key(self) -> str:
        return digest(self.resolved())

    def victim(self, attacked: bool = False) -> dict[str, Any]:
        """What decides a victim's weights; of an attack only one that tampers counts."""
        whole = self.resolved()
        names = (*VICTIM, "threat", "aux", "attack") if attacked else VICTIM
        return {"schema": SCHEMA} | {name: whole[name] for name in names if name in whole}

    @property
    def victim_key(self) -> str:
        return digest(self.victim())


def digest(value: Any) -> str:
    """sha256 of canonical JSON, short enough for a file name."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
