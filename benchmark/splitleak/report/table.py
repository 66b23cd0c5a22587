"""Records to the leaderboard: means over seeds with Student's intervals, paired drops, worst cases and flags.

Pure: takes records, returns a pandas table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splitleak.contract import threats
from splitleak.printable import printable
from splitleak.records import Record
from splitleak.report.flags import flags
from splitleak.report.labels import printed
from splitleak.report.means import average, interval
from splitleak.report.rows import ROW, RowKey, by_row, is_control
from splitleak.report.worst import Evidence

if TYPE_CHECKING:
    import pandas as pd

METRICS = (
    "mse", "psnr", "ssim", "reid_top1", "dcor", "dtw", "judge_accuracy", "label_accuracy", "auc", "tpr_at_1fpr",
)  # fmt: skip
OF_PEOPLE = ("auc_raw", "accuracy_gain", "people", "people_ci95")  # of the goals property and linkage
BESIDE = ("auc_class", "nearest_aux", "reid_strangers", "reid_chance")  # metrics to read others against
LATER_BESIDE = ("class_mean",)  # the same, added later
SURE = (
    "tpr_at_1fpr_low", "tpr_at_1fpr_high", "tpr_at_0_1fpr", "tpr_at_0_1fpr_low", "tpr_at_0_1fpr_high",
)  # fmt: skip
MEANS = (
    "utility_attacked", "epsilon", "epsilon_person", "bytes_up", "bytes_down", "seconds_train", "seconds_attack",
    "detected_at",
)  # fmt: skip
COLUMNS = (
    *ROW, "n_seeds", "utility_metric", "utility", "utility_ci95", "utility_drop", "utility_drop_ci95",
    "utility_attacked", "advantage", "advantage_ci95", "advantage_drop", "advantage_drop_ci95", "null_advantage",
    *METRICS, "epsilon", "bytes_up", "bytes_down", "seconds_train", "seconds_attack", "detected_at", "worst",
    "flags", "status", "version",  # what came later stands after this
    "settings", "privacy", "epsilon_person", *BESIDE, "suite", "best_known", "control_advantage",
    *SURE, *OF_PEOPLE, *LATER_BESIDE,
)  # fmt: skip
MEASURES: dict[str, Callable[[Record], float]] = {
    "utility": lambda record: float(record["utility"]),
    "advantage": lambda record: float(record["metrics"]["advantage"]),
}


def leaderboard(records: Sequence[Record], base: Path | None = None) -> pd.DataFrame:
    """A row per cell but for its seed, in the order of the columns. Texts are on one line, as a terminal may show them.

    base: the folder from which files of plug-ins are named, to see whether they have changed.
    """
    import pandas as pd

    return pd.DataFrame([row for row, _ in by_key(records, base)], columns=list(COLUMNS))


def by_key(records: Sequence[Record], base: Path | None = None) -> list[tuple[dict[str, Any], list[Record]]]:
    """The same as plain rows, each with its records."""
    groups = by_row(records)
    evidence, address = Evidence(groups), printed(groups)
    rows = [(address[key] | _row(key, groups[key], evidence, base or Path.cwd()), groups[key]) for key in groups]
    plain = [({name: printable(v) if isinstance(v, str) else v for name, v in row.items()}, own) for row, own in rows]
    return sorted(plain, key=lambda pair: _order(pair[0]))


def _row(key: RowKey, records: Sequence[Record], evidence: Evidence, base: Path) -> dict[str, Any]:
    done = evidence.done(key)
    row: dict[str, Any] = {"n_seeds": len(done), "status": _status(records)}
    row |= {"version": records[0]["versions"]["splitleak"], "flags": " ".join(flags(key, records, evidence, base))}
    if not done:
        return row
    row["utility_metric"] = done[0]["utility_metric"]
    for name, value in MEASURES.items():
        row[name], row[f"{name}_ci95"] = interval([value(r) for r in done])
    if key.defended:
        row |= _drops(done, evidence.done(key.undefended()))
    shown = (*METRICS, *BESIDE, *SURE, *OF_PEOPLE[:2], *LATER_BESIDE)
    row |= {name: average([r["metrics"].get(name) for r in done]) for name in shown}  # type: ignore[misc]
    row |= {name: average([r.get(name) for r in done]) for name in MEANS}  # type: ignore[misc]
    row["null_advantage"] = average([r["null"]["metrics"]["advantage"] for r in done if "null" in r])
    row["control_advantage"] = average([r["control"]["advantage"] for r in done if "control" in r])
    row |= _people(done)
    row["worst"], row["best_known"] = evidence.worst(key), evidence.best_known(key)
    row["suite"] = evidence.suite(key)
    row["privacy"] = _privacy(done)
    return row


def _privacy(done: Sequence[Record]) -> str | None:
    """What epsilon is about: `record x4, replace, delta 1e-05`; with the seed of the highest multiplicity."""
    most = max(done, key=lambda r: r.get("multiplicity") or 0)
    if not most.get("privacy_unit"):
        return None
    return f"{most['privacy_unit']} x{most['multiplicity']}, {most['adjacency']}, delta {most['delta']:g}"


def _people(done: Sequence[Record]) -> dict[str, float | None]:
    """How many people are behind the targets, and the half-width of the advantage's interval over them: means."""
    known = [r for r in done if r.get("people") is not None]
    return {
        "people": average([r.get("people") for r in known]),
        "people_ci95": average([r.get("bootstrap_ci95") for r in known]),
    }


def _drops(done: Sequence[Record], undefended: Sequence[Record]) -> dict[str, float | None]:
    """What the defence takes away, paired by seed."""
    before = {r["cell"]["seed"]: r for r in undefended}
    pairs = [(before[seed], r) for r in done if (seed := r["cell"]["seed"]) in before]
    drops: dict[str, float | None] = {}
    for name, value in MEASURES.items():
        drops[f"{name}_drop"], drops[f"{name}_drop_ci95"] = interval([value(a) - value(b) for a, b in pairs])
    return drops


def _status(records: Sequence[Record]) -> str:
    """The worst that happened among the seeds."""
    return max((r["status"] for r in records), key=("done", "skipped", "diverged", "failed").index)


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    """By victim, the undefended one first; then by threat and goal, the control first."""
    return (
        row["dataset"], row["model"], row["cut"] or 0, row["protocol"], row["clients"], row["aux"], row["settings"],
        row["defense"] != "none", row["defense"], list(threats.THREATS).index(row["threat"]), row["goal"],
        not is_control(row["attack"]), row["attack"],
    )  # fmt: skip
