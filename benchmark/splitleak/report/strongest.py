"""From rows of the leaderboard to the strongest working attack of each defence and threat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from splitleak.contract import threats
from splitleak.report.flags import PARTIAL
from splitleak.report.rows import granted, is_control
from splitleak.report.worst import WORKS

Row = dict[str, Any]
NONE_WORKS = "no attack beat guessing"
ONLY_BLIND = "only blind was run"


@dataclass(frozen=True)
class Best:
    """The strongest working attack under a threat, or why there is none."""

    threat: str
    row: Row | None = None
    advantage: float | None = None  # the table's `worst`
    why: str = ""

    @property
    def advantage_ci95(self) -> float | None:
        """Half-width of the interval, where the value is the row's advantage and not 2 AUC - 1."""
        if self.row is None or self.advantage is None or abs(self.row["advantage"] - self.advantage) > 1e-9:
            return None
        half: float | None = self.row["advantage_ci95"]
        return half


@dataclass(frozen=True)
class DefenseRows:
    """A defence, what it costs, and the strongest attack of each threat that occurs."""

    name: str
    rows: list[Row]
    threats: list[Best]

    @property
    def utility(self) -> float | None:
        return next((row["utility"] for row in self.rows if row["utility"] is not None), None)

    @property
    def utility_ci95(self) -> float | None:
        return next((row["utility_ci95"] for row in self.rows if row["utility"] is not None), None)

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """By the worst case over real threats (`oracle` is a bound).

        Behind all complete ones where it is partial, and there last where no attack is known to work.
        """
        real = [row for row in self.rows if row["threat"] != "oracle"]
        worst = [row["worst"] for row in real if row["worst"] is not None]
        return any(map(is_partial, real)), not worst, max(worst, default=0.0)


def defenses_of(rows: Sequence[Row]) -> list[DefenseRows]:
    """The defences among rows of one victim and one goal, in the order of the rows."""
    proven = {(row["attack"], row["threat"]) for row in rows if row["defense"] == "none" and _strength(row) is not None}
    found = []
    for name in dict.fromkeys(row["defense"] for row in rows):
        those = [row for row in rows if row["defense"] == name]
        order = [threat for threat in threats.THREATS if any(row["threat"] == threat for row in those)]
        found.append(DefenseRows(name, those, [_best(threat, those, proven) for threat in order]))
    return found


def _best(threat: str, rows: Sequence[Row], proven: set[tuple[str, str]]) -> Best:
    here = [row for row in rows if row["threat"] == threat]
    worst = max((row["worst"] for row in here if row["worst"] is not None), default=0.0)
    if worst > 0:
        candidates = [row for row in rows if _may_be_strongest(row, threat, proven)]
        return Best(threat, max(candidates, key=lambda row: _strength(row) or 0.0), worst)
    if not any(row["n_seeds"] for row in here):
        return Best(threat, why=f"not measured ({here[0]['status']})")
    attacks = any(not is_control(row["attack"]) for row in here)
    why = NONE_WORKS if attacks or here[0]["worst"] is not None else ONLY_BLIND
    return Best(threat, why=f"{why} (partial)" if any(map(is_partial, here)) else why)


def is_partial(row: Row) -> bool:
    """Were not all attacks of a suite run, so that the worst case may be higher?"""
    return PARTIAL in str(row["flags"]).split()


def _may_be_strongest(row: Row, threat: str, proven: set[tuple[str, str]]) -> bool:
    """A working attack, of a threat that holds no more than this one."""
    own = _strength(row)
    if own is None or is_control(row["attack"]) or "attack-failed" in str(row["flags"]).split():
        return False
    less = not granted(row["threat"], row["protocol"]) & ~granted(threat, row["protocol"])
    return less and ((row["attack"], row["threat"]) in proven or own > WORKS)


def _strength(row: Row) -> float | None:
    """The mean advantage or, of two classes, 2 AUC - 1 where that is more."""
    if row["advantage"] is None:
        return None
    return float(max(row["advantage"], -1.0 if row["auc"] is None else 2 * row["auc"] - 1))
