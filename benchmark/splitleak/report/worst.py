"""What the rows prove about each other: which attacks work, and the worst case of each threat."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean

from splitleak.contract import threats
from splitleak.contract.nouns import Goal
from splitleak.plan import suites
from splitleak.plan.points import aux_grants
from splitleak.records import Record
from splitleak.report.rows import RowKey, canonical

TASKS = {"accuracy": "classes", "iou": "mask", "r2": "value"}  # by the metric of the victim's utility
WORKS = 0.02  # an attack that is not this far above the floor, here or on the undefended victim, has failed


class Evidence:
    """The finished records of every row."""

    def __init__(self, groups: Mapping[RowKey, list[Record]]) -> None:
        finished = {key: [r for r in records if r["status"] == "done"] for key, records in groups.items()}
        self._done = {key: records for key, records in finished.items() if records}
        self._strength = {key: mean(strength(r) for r in records) for key, records in self._done.items()}
        self._rivals: dict[RowKey, list[RowKey]] = defaultdict(list)
        self._victim_seeds: dict[RowKey, set[int]] = defaultdict(set)
        for key, records in self._done.items():
            self._victim_seeds[key.victim()] |= _seeds(records)
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
        rivals = [self._strength[other] for other in self._holding_no_more(key) if self.works(other)]
        return max(0.0, *rivals) if rivals else None

    def best_known(self, key: RowKey) -> float | None:
        """The highest of any record on this victim and goal, working or not, of the same threats; never below 0."""
        known = [strength(record) for other in self._holding_no_more(key) for record in self._done[other]]
        return max(0.0, *known) if known else None

    def suite(self, key: RowKey) -> str | None:
        """The newest suite that is complete: each of its attacks that can run here has finished on all seeds.

        Here: on this victim, with this goal, under a threat that holds no more than this one. Seeds: all of the victim.
        """
        if key not in self._done:
            return None
        wanted = self._victim_seeds[key.victim()]
        finished: dict[tuple[str, str], set[int]] = defaultdict(set)
        for other in self._holding_no_more(key):
            finished[other.cell["threat"], canonical(other.cell["attack"])] |= _seeds(self._done[other])
        for suite in suites.newest_first():
            asked = [(one.threat, canonical(one.attack.spec)) for one in self._asked(suite, key)]
            if asked and all(wanted <= finished[place] for place in asked):
                return suite.name
        return None

    def _holding_no_more(self, key: RowKey) -> list[RowKey]:
        """The rows of attacks on this victim and goal, of the threats that hold no more than this one."""
        return [other for other in self._rivals[key.question()] if not other.grants & ~key.grants]

    def _asked(self, suite: suites.Suite, key: RowKey) -> list[suites.Listed]:
        """The attacks of a suite that this row's worst case is made of."""
        protocol, aux = key.cell["protocol"], aux_grants(key.cell["aux"])
        task = TASKS.get(self._done[key][0]["utility_metric"])
        return [
            one
            for one in suite.known(protocol)
            if one.goal is Goal(key.cell["goal"])
            and not threats.THREATS[one.threat].on(protocol) & ~key.grants
            and task in one.plugin.tasks
            and one.objection(protocol, aux) is None
        ]


def _seeds(records: Sequence[Record]) -> set[int]:
    return {record["cell"]["seed"] for record in records}


def strength(record: Record) -> float:
    """How well the attack does: its advantage or, of two classes, 2 AUC - 1 where that is more."""
    metrics = record["metrics"]
    return max(float(metrics["advantage"]), float(metrics.get("signed_auc", -math.inf)))
