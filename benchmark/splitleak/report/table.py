"""Records to a table: means over seeds with Student's t, paired drops, the worst case of each threat, red flags.

Pure: takes records, returns a pandas table. What each flag means stands in the README.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from splitleak import __version__
from splitleak.contract import threats
from splitleak.contract.errors import BadInput
from splitleak.contract.nouns import Grant
from splitleak.plan import plugins
from splitleak.plan.settings import Clients, Federated
from splitleak.train import provenance

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]
ROW = ("dataset", "model", "cut", "protocol", "clients", "threat", "aux", "defense", "goal", "attack")
METRICS = (
    "mse", "psnr", "ssim", "reid_top1", "dcor", "dtw", "judge_accuracy", "label_accuracy", "auc", "tpr_at_1fpr",
)  # fmt: skip
COLUMNS = (
    *ROW, "n_seeds", "utility_metric", "utility", "utility_ci95", "utility_drop", "utility_drop_ci95",
    "utility_attacked", "advantage", "advantage_ci95", "advantage_drop", "advantage_drop_ci95", "null_advantage",
    *METRICS, "epsilon", "bytes_up", "bytes_down", "seconds_train", "seconds_attack", "detected_at", "worst",
    "flags", "status", "version",
)  # fmt: skip
WORKS = 0.02  # an attack that is not this far above the floor on the undefended victim has failed


def leaderboard(records: Sequence[Record], base: Path | None = None) -> pd.DataFrame:
    """A row per cell but for its seed, in the order of the columns."""
    import pandas as pd

    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[address(record)].append(record)
    table = Table({key: sorted(rs, key=lambda r: r["cell"]["seed"]) for key, rs in groups.items()}, base or Path.cwd())
    rows = sorted((table.row(key) for key in table.groups), key=_order)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def address(record: Record) -> tuple[Any, ...]:
    """What a row is about: everything in its cell but the seed, the null twin and whether it is skipped."""
    cell, labels = record["cell"], record["labels"]
    settings = tuple(sorted(cell["train"].items())), tuple(sorted(cell["evaluate"].items()))
    return (
        labels["dataset"], labels["model"], cell["cut"], protocol_label(cell), str(Clients(**cell["clients"])),
        cell["threat"], aux_label(cell["aux"]), labels["defense"], cell["goal"], labels["attack"], settings,
    )  # fmt: skip


def done_by_row(records: Sequence[Record]) -> dict[tuple[Any, ...], list[Record]]:
    """What was measured, by the row that it belongs to."""
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        if record["status"] == "done":
            groups[address(record)].append(record)
    return groups


def protocol_label(cell: dict[str, Any]) -> str:
    return str(Federated(**cell["federated"])) if "federated" in cell else str(cell["protocol"])


def granted(key: tuple[Any, ...]) -> Grant:
    """What a row's threat holds under its protocol."""
    return threats.THREATS[key[5]].on(key[3].partition("(")[0])


def aux_label(aux: dict[str, Any]) -> str:
    chosen = {k: v for k, v in aux.items() if k != "name" and (k, v) not in (("n", None), ("labels", True))}
    return f"{aux['name']}({', '.join(f'{k}={v}' for k, v in chosen.items())})" if chosen else str(aux["name"])


class Table:
    """Records by row, and what a row needs to know of others: the undefended one, the rivals of a threat."""

    def __init__(self, groups: dict[tuple[Any, ...], list[Record]], base: Path) -> None:
        self.groups, self.base = groups, base

    def done(self, key: tuple[Any, ...]) -> list[Record]:
        return [r for r in self.groups.get(key, []) if r["status"] == "done"]

    def reference(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        """The row of the same attack on the undefended victim."""
        return (*key[:7], "none", *key[8:])

    def row(self, key: tuple[Any, ...]) -> dict[str, Any]:
        records, done = self.groups[key], self.done(key)
        row: dict[str, Any] = dict(zip(ROW, key, strict=False))
        row |= {"n_seeds": len(done), "status": _status(records), "version": records[0]["versions"]["splitleak"]}
        row["flags"] = " ".join(self.flags(key))
        if not done:
            return row
        before = {r["cell"]["seed"]: r for r in self.done(self.reference(key))}
        row["utility_metric"] = done[0]["utility_metric"]
        for name, value in (("utility", _utility), ("advantage", _advantage)):
            row[name], row[f"{name}_ci95"] = interval([value(r) for r in done])
            if row["defense"] != "none":
                pairs = [(before[s], r) for r in done if (s := r["cell"]["seed"]) in before]
                row[f"{name}_drop"], row[f"{name}_drop_ci95"] = interval([value(a) - value(b) for a, b in pairs])
        for name in METRICS:
            row[name] = average([r["metrics"].get(name) for r in done])
        for name in (
            "utility_attacked",
            "epsilon",
            "bytes_up",
            "bytes_down",
            "seconds_train",
            "seconds_attack",
            "detected_at",
        ):
            row[name] = average([r.get(name) for r in done])
        row["null_advantage"] = average([r["null"]["metrics"]["advantage"] for r in done if "null" in r])
        row["worst"] = self.worst(key)
        return row

    def works(self, key: tuple[Any, ...]) -> bool:
        """Did this attack ever get above the floor, on the undefended victim or right here?"""
        proofs = (self.done(self.reference(key)), self.done(key))
        return any(rs and mean(_strength(r) for r in rs) > WORKS for rs in proofs)

    def failed(self, key: tuple[Any, ...]) -> bool:
        """It does not work on the undefended victim, so it proves nothing about a defence."""
        proof = self.done(self.reference(key))
        return key[9] != "blind" and bool(proof) and mean(_strength(r) for r in proof) <= WORKS

    def worst(self, key: tuple[Any, ...]) -> float | None:
        """The strongest working attack on this victim and goal among the threats that hold no more than this one.

        Never below 0: whoever does worse with an attack guesses blindly.
        """
        mine = granted(key)
        rivals = [
            mean(_strength(r) for r in self.done(other))
            for other in self.groups
            if (other[:5], other[6:9], other[10]) == (key[:5], key[6:9], key[10])
            and not granted(other) & ~mine
            and not other[9].startswith("blind") and self.done(other) and self.works(other) and not self.failed(other)
        ]  # fmt: skip
        return max(0.0, *rivals) if rivals else None

    def flags(self, key: tuple[Any, ...]) -> list[str]:
        done, found = self.done(key), []
        blind = key[9].startswith("blind")
        if any(r.get("null", {}).get("leaks") for r in done):
            found.append("null-leak")
        if self.failed(key) and not blind:
            found.append("attack-failed")
        elif done and not blind and mean(_strength(r) for r in done) <= 0:
            found.append("below-blind")
        if done and self._collapsed(key):
            found.append("utility-collapse")
        if any(r.get("collapsed_at") is not None for r in done):
            found.append("early-collapse")
        if done and len(done) < 3:
            found.append("few-seeds")
        if any(r.get("detected_at") is not None and r["detected_at"] >= 0 for r in done):
            found.append("detected")
        found += sorted({flag for r in done for flag in r["flags"]})
        if any(self._stale(r) for r in self.groups[key]):
            found.append("stale")
        return found

    def _collapsed(self, key: tuple[Any, ...]) -> bool:
        """More than half of what the undefended victim has above a constant answer is gone."""
        floor = mean(r["utility_floor"] for r in self.done(key))
        now = mean(_utility(r) for r in self.done(key)) - floor
        proof = self.done(self.reference(key))
        before = mean(_utility(r) for r in proof) - floor if proof else 2 * 0.05
        return bool(now < before / 2)

    def _stale(self, record: Record) -> bool:
        """The code of a plug-in has changed since, or is gone."""
        for kind, made_by in record["hashes"].items():
            try:
                plugin = plugins.make(kind, record["cell"][kind], self.base)
            except BadInput:
                if not record["cell"][kind]["name"].endswith(".py"):  # a file of one's own may lie elsewhere
                    return True
                continue
            if provenance.code_of(plugin) != provenance.successor(made_by):
                return True
        return bool(record["versions"]["splitleak"] != __version__)


def interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean, and the half-width of Student's 95 % interval (None for a single value)."""
    if not values:
        return None, None
    if len(values) < 2:
        return values[0], None
    from scipy.stats import t

    return mean(values), float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


def average(values: Sequence[float | None]) -> float | None:
    """Mean over those that are there."""
    found = [value for value in values if value is not None]
    return mean(found) if found else None


def _utility(record: Record) -> float:
    return float(record["utility"])


def _advantage(record: Record) -> float:
    return float(record["metrics"]["advantage"])


def _strength(record: Record) -> float:
    """How well the attack does; of two classes an order is enough: 2 AUC - 1, where that is more."""
    return max(_advantage(record), float(record["metrics"].get("signed_auc", -math.inf)))


def _status(records: Sequence[Record]) -> str:
    """The worst that happened among the seeds."""
    return str(max((r["status"] for r in records), key=("done", "skipped", "diverged", "failed").index))


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    """Undefended first, the control first, else by name."""
    threat = list(threats.THREATS).index(row["threat"])
    victim = (row["dataset"], row["model"], row["cut"] or 0, row["protocol"], row["clients"], row["aux"])
    return (
        *victim,
        row["defense"] != "none",
        row["defense"],
        threat,
        row["goal"],
        row["attack"] != "blind",
        row["attack"],
    )
