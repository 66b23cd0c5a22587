"""What is known of a trained victim beside its weights; it is kept with them, and records copy a part of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter
from torch import Tensor

from splitleak.store import Store

Sent = list[tuple[int, int, list[int]]]  # (round, client, positions of its records in the private part)


UNSHARED = {"in_record": False}  # of a field that records about the victim do not repeat
STRICT = ConfigDict(strict=True, allow_inf_nan=False)  # no text is taken for a number


@dataclass
class Learned:
    """What a training leaves beside the weights."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    steps: int = field(default=0, metadata=UNSHARED)
    seconds_train: float = 0.0
    detected_at: int = field(default=-1, metadata=UNSHARED)  # step at which a defence stopped the training, or -1
    loss_curve: list[float] | None = None  # mean loss of the task in each epoch
    loss_constant: float | None = None  # the same loss of the best constant answer
    collapsed_at: int | None = None  # epoch from which on the loss was no better than that
    utility_curve: list[float] | None = None  # utility after each epoch or round
    sent: Sent | None = field(default=None, metadata=UNSHARED)  # of a federation: the records behind each update


@dataclass
class VictimFacts:
    """Everything kept with a victim's weights. `diverged` says why there are none."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    victim: dict[str, Any] = field(metadata=UNSHARED)  # the canonical form of the cell, less the attack
    made_by: dict[str, str] = field(metadata=UNSHARED)  # code and records; see `provenance`
    fingerprint: str = field(default="", metadata=UNSHARED)  # of the weights; the store computes it
    diverged: str | None = field(default=None, metadata=UNSHARED)
    learned: Learned = field(default_factory=Learned, metadata=UNSHARED)
    utility_metric: str | None = None
    utility: float | None = None
    utility_floor: float | None = None  # of a constant answer
    utility_also: dict[str, float] | None = None  # other measures of the same prediction
    utility_clients: list[dict[str, Any]] | None = None  # of each client on its share of the test part
    bytes_up: int | None = None  # per record and epoch
    bytes_down: int | None = None
    epsilon: float | None = None  # differential privacy: composed over all releases of all copies; see `accounting`
    epsilon_one: float | None = None  # of a single release
    delta: float | None = None
    privacy_unit: str | None = None
    adjacency: str | None = None
    multiplicity: int | None = None
    epsilon_person: float | None = None

    def for_record(self) -> dict[str, Any]:
        """The part that each record about this victim repeats."""
        return _values(self, shared=True) | _values(self.learned, shared=True)

    def to_json(self) -> dict[str, Any]:
        """The flat form in which the file holds them."""
        flat = _values(self) | _values(self.learned)
        del flat["learned"]
        return {name: value for name, value in flat.items() if value not in (None, "")}

    @classmethod
    def from_json(cls, flat: dict[str, Any]) -> VictimFacts:
        """Read the flat form; ValueError if something is missing, or of another type."""
        whole = {f.name: flat[f.name] for f in fields(cls) if f.name in flat}
        whole["learned"] = {f.name: flat[f.name] for f in fields(Learned) if f.name in flat}
        return _adapter().validate_json(json.dumps(whole))


def _values(facts: Learned | VictimFacts, shared: bool = False) -> dict[str, Any]:
    chosen = [f.name for f in fields(facts) if not shared or f.metadata.get("in_record", True)]
    return {name: getattr(facts, name) for name in chosen}


@cache
def _adapter() -> TypeAdapter[VictimFacts]:
    return TypeAdapter(VictimFacts)


@dataclass
class Kept:
    """A victim as the store holds it."""

    tensors: dict[str, Tensor]
    facts: VictimFacts

    @classmethod
    def read(cls, store: Store, key: str) -> Kept | None:
        """The kept victim, or None; a damaged file is set aside."""
        found = store.victim(key)
        if found is None:
            return None
        try:
            return cls(found[0], VictimFacts.from_json(found[1]))
        except ValueError as error:
            store.set_aside(store.victim_path(key), error)
            return None

    def write(self, store: Store, key: str) -> None:
        store.write_victim(key, self.tensors, self.facts.to_json())
