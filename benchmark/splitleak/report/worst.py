"""What the rows prove about each other: which attacks work, and the worst case of each threat."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from statistics import mean

from splitleak.records import Record
from splitleak.report.rows import RowKey

WORKS = 0.02  # an attack that is not this far above the floor, here or on the undefended victim, has failed


class Evidence:
    """The finished records of every row."""

    def __init__(self, groups: Mapping[RowKey, list[Record]]) -> None:
        finished = {key: [r for r in records if r["status"] == "done"] for key, records in groups.items()}
        self._done = {key: records for key, records in finished.items() if records}
        self._strength = {key: mean(strength(r) for r in records) for key, records in self._done.items()}
        self._rivals: dict[RowKey, list[RowKey]] = defaultdict(list)
        for key in self._done:
            if not key.control:
                self._rivals[key.question()].append(key)

    def done(self, key: RowKey) -> list[Record]:
        return self._done.get(key, [])

    def strength(self, key: RowKey) -> float | None:
        """Mean over seeds; None where nothing was measured."""
        return self._strength.get(key)

    def works(self, key: RowKey) -> bool:
        """Is this attack above the floor, on the undefended victim or on this one?"""
        return any((self.strength(k) or 0) > WORKS for k in (key.undefended(), key))

    def failed(self, key: RowKey) -> bool:
        """It works neither on the undefended victim nor here, so it proves nothing about a defence."""
        measured = self.strength(key.undefended()) is not None
        return not key.control and measured and not self.works(key)

    def worst(self, key: RowKey) -> float | None:
        """The strongest working attack on this victim and goal among the threats that hold no more than this one.

        Never below 0: an attacker whose attack does worse can still make the blind guess.
        """
        held = key.grants
        rivals = [
            self._strength[other]
            for other in self._rivals[key.question()]
            if not other.grants & ~held and self.works(other)
        ]
        return max(0.0, *rivals) if rivals else None


def strength(record: Record) -> float:
    """How well the attack does: its advantage or, of two classes, 2 AUC - 1 where that is more."""
    metrics = record["metrics"]
    return max(float(metrics["advantage"]), float(metrics.get("signed_auc", -math.inf)))
