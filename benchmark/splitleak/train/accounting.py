"""Differential privacy of a victim: what its defence promises after the steps that were really taken.

Counted is the record that stands most often among the private ones: each of its copies is sent in every epoch. Beside
epsilon stand the unit (a record, its label, or a whole client), what neighbours differ by, and the multiplicity.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import torch
from torch import Tensor

from splitleak.contract import Exposure, Privacy
from splitleak.train.division import divide
from splitleak.train.party import batched
from splitleak.train.victim import Victim


def facts(victim: Victim, steps: int) -> dict[str, Any]:
    """The fields of a victim's facts and of a record; none if the defence promises nothing."""
    guarantee = privacy(victim, steps)
    if guarantee is None:
        return {}
    return {
        "epsilon": guarantee.epsilon,
        "epsilon_one": guarantee.epsilon_one,
        "delta": guarantee.delta,
        "privacy_unit": guarantee.unit,
        "adjacency": guarantee.adjacency,
        "multiplicity": guarantee.multiplicity,
        "epsilon_person": epsilon_person(victim, steps, guarantee),
    }


def privacy(victim: Victim, steps: int) -> Privacy | None:
    """The weakest guarantee of any client after so many steps of all clients together, for the most frequent record."""
    _, copies = victim.data.private.id.unique(return_counts=True)
    return _weakest(victim, exposures(victim, steps, int(copies.max()), 1))


def epsilon_person(victim: Victim, steps: int, guarantee: Privacy) -> float | None:
    """The same epsilon for all records of the person who has most; None if unknown, or if the unit is a client."""
    private = victim.data.private
    if private.group is None or guarantee.unit == "client":
        return None
    person = private.group.mode().values
    ids: Tensor = private.id[private.group == person]
    whole = _weakest(victim, exposures(victim, steps, len(ids), len(ids.unique())))
    return whole.epsilon if whole is not None and isfinite(whole.epsilon) else None


def exposures(victim: Victim, steps: int, copies: int, records: int) -> list[Exposure]:
    """How often each client used a unit of so many records; empty for a network that is never cut: it is undefended."""
    recipe, data = victim.recipe, victim.data
    if recipe.federated is not None:
        return [Exposure(recipe.federated.rounds, 1, copies, records, released=False)]
    if not recipe.traffic.cut:
        return []
    parts = divide(data.private, recipe.clients, data.task, recipe.seeds.order)
    counts = [len(batched(torch.empty(len(part)), recipe.train.batch_size)) for part in parts]
    epochs, rest = divmod(steps, sum(counts))
    return [Exposure(epochs * n + min(rest, n), n, copies, records) for n in counts]


def _weakest(victim: Victim, used: list[Exposure]) -> Privacy | None:
    guarantees = [victim.defense.privacy(exposure) for exposure in {*used}]
    return max((g for g in guarantees if g), key=lambda g: g.epsilon, default=None)
