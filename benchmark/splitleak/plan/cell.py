"""One point of the matrix with all defaults filled in; its key is the hash of its canonical form."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from splitleak.contract import Protocol
from splitleak.contract.plugin import Spec, canonical
from splitleak.contract.protocols import TRAFFIC, Traffic
from splitleak.plan.recipe import Recipe
from splitleak.plan.seeds import Seeds, seed_for
from splitleak.plan.settings import Clients, Evaluate, Federated, Train
from splitleak.store import SCHEMA, digest

VICTIM = ("dataset", "model", "cut", "protocol", "federated", "clients", "defense", "seed", "train")
ATTACKED = (*VICTIM, "threat", "aux", "attack")


@dataclass(frozen=True)
class Cell:
    """A victim (dataset to seed) and the attack on it. `skip` says why a cell is not legal."""

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
    null: bool = False  # also run on the null channel: for the first seed of a matrix
    tampers: bool = False
    skip: str | None = None
    shadows: int = 0  # shadow victims that the attack asks for; no part of the key, since the attack says it
    shadow: int | None = None  # the number of the shadow victim that this is the cell of
    optional: bool = False  # of a suite, whose goals nobody named: left out where the dataset has no answers

    def resolved(self) -> dict[str, Any]:
        """The canonical form: plain values, with the schema number."""
        names = ("dataset", "model", "cut", "protocol", "defense", "seed", "threat", "aux", "attack", "goal", "null")
        whole: dict[str, Any] = {"schema": SCHEMA} | {name: getattr(self, name) for name in (*names, "tampers")}
        for name in ("train", "evaluate", "clients", "federated"):
            if (settings := getattr(self, name)) is not None:
                whole[name] = canonical(settings)
        return whole

    @cached_property
    def key(self) -> str:
        return digest(self.resolved())

    def victim(self, attacked: bool = False) -> dict[str, Any]:
        """What decides the weights of the victim; of an attack, only one that tampers does."""
        whole = self.resolved()
        names = ATTACKED if attacked else VICTIM
        shadow = {} if self.shadow is None else {"shadow": self.shadow}
        return {"schema": SCHEMA} | shadow | {name: whole[name] for name in names if name in whole}

    @cached_property
    def victim_key(self) -> str:
        return digest(self.victim())

    @cached_property
    def victims(self) -> list[Cell]:
        """A cell for each victim that must be trained: itself, and its shadows.

        A shadow has a seed of its own in place of the victim's, so victims that differ in the seed share their shadows.
        """
        return [self, *(replace(self, seed=seed_for("shadow", i), shadow=i) for i in range(self.shadows))]

    @property
    def traffic(self) -> Traffic:
        """What crosses the wire under the protocol."""
        return TRAFFIC[self.protocol]

    @property
    def seeds(self) -> Seeds:
        return Seeds(self.dataset, self.model, self.seed)

    @property
    def recipe(self) -> Recipe:
        """How the victim is trained."""
        return Recipe(self.protocol, self.train, self.clients, self.federated, self.seeds)
