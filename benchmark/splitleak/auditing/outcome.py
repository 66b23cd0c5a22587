"""The result of an audit: what was measured, what was declared, and what follows from both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splitleak import __version__
from splitleak.auditing import exposure, messages, words
from splitleak.auditing.page import page
from splitleak.auditing.plans import Plan
from splitleak.plan import matrix, plugins
from splitleak.records import Record
from splitleak.report import text
from splitleak.score.per_target import clopper_pearson
from splitleak.store import Store, write, write_json

SCHEMA = 1
Findings = dict[str, Any]
FPR = 0.01
METRICS = (
    "advantage", "reid_top1", "reid_chance", "reid_strangers", "class_mean", "nearest_aux", "label_accuracy", "auc",
    "auc_raw", "auc_class", "tpr_at_1fpr",
)  # fmt: skip


@dataclass(frozen=True)
class Audit:
    """What `splitleak audit` found. `found` is the content of audit.json; str() is what the command prints."""

    found: dict[str, Any]
    folder: Path

    def __str__(self) -> str:
        return "\n".join(lines(self.found))

    @property
    def findings(self) -> dict[tuple[int, str], str]:
        """The finding for each cut and defence."""
        return {(one["cut"], one["defense"]): one["finding"] for one in self.found["measured"]["answers"]}

    def write(self) -> None:
        """Write audit.json and audit.html."""
        write_json(self.folder / "audit.json", self.found)
        write(self.folder / "audit.html", page(self.found).encode())


def gathered(plan: Plan, records: Sequence[Record], folder: Path, beside: Sequence[Record] | None = None) -> Findings:
    """The content of audit.json, without the command that repeats it, from the records of the attacks.

    folder: of the results. beside: records of the quick attacks, which are listed alone; None: `records` are those.
    """
    members = exposure.Members.of(plan.data, plan.base / plan.asked.members)
    done, store, complete = _done(records), Store(folder, read_only=True), beside is not None
    answers = []
    for cut in plan.told_apart:
        for defense in plan.asked.defenses:
            label = plugins.label("defense", spec_of(defense), plan.base)
            own = [r for r in done if (r["cell"]["cut"], r["labels"]["defense"]) == (cut, label)]
            noise = spec_of(defense)["name"] if plan.asked.client else ""  # no derivative of messages in a file
            about = messages.described(plan.victim(cut, defense, store), noise, plan.data.test.x)
            answers.append({"cut": cut, "defense": label} | about | _answer(own, members))
    return {
        "schema": SCHEMA, "splitleak": __version__, "complete": complete,
        "data": _data(plan), "cuts": {str(cut): earlier for cut, earlier in plan.cuts.items()},
        "measured": {"answers": answers, "attacks": [_row(r) for r in (*done, *_done(beside or ()))]},
        "declared": _declared(plan),
        "combined": [_combined(plan, one, done) for one in answers],
        "not_tested": list(_not_tested(plan, records, complete)),
        "regulators": [list(each) for each in words.REGULATORS], "caveat": words.CAVEAT,
    }  # fmt: skip


def _done(records: Iterable[Record]) -> list[Record]:
    return [r for r in records if r["status"] == "done" and r["cell"]["attack"]["name"] != "blind"]


def spec_of(defense: Any) -> dict[str, Any]:
    return {"name": defense} if isinstance(defense, str) else dict(defense)


def _answer(done: Sequence[Record], members: exposure.Members) -> dict[str, Any]:
    """The strongest attack of each goal, what it means, and whom it exposes."""
    finder = _finder(done)
    reid = finder["metrics"]["reid_top1"] if finder is not None else 0.0
    best = {goal: _strongest(done, goal) for goal in ("inputs", "linkage", "labels", "membership", "property")}
    rows = {goal: None if record is None else _row(record) for goal, record in best.items()}
    answer: dict[str, Any] = {
        "finding": words.finding(rows["inputs"], rows["linkage"], rows["labels"], reid),
        "strongest": {goal: row for goal, row in rows.items() if row is not None},
    }
    if (linear := next((r for r in done if r["cell"]["attack"]["name"] == "least_squares"), None)) is not None:
        answer["linear_share"] = linear["metrics"]["advantage"]
    if finder is not None:
        answer["exposed"] = exposure.exposed(finder, members)
    if done and done[0]["cell"]["protocol"] == "vanilla" and done[0]["cell"]["model"].get("server"):
        answer |= {"utility": done[0]["utility"], "utility_metric": done[0]["utility_metric"]}
    return answer


def _sound(done: Iterable[Record], goal: str) -> list[Record]:
    """The attacks with this goal that find nothing on the null channel."""
    return [r for r in done if r["cell"]["goal"] == goal and not r.get("null", {"leaks": False})["leaks"]]


def _strongest(done: Iterable[Record], goal: str) -> Record | None:
    """The one with the highest advantage."""
    return max(_sound(done, goal), key=lambda r: r["metrics"]["advantage"], default=None)


def _finder(done: Iterable[Record]) -> Record | None:
    """The one that re-identifies most records; the strongest attack may find fewer."""
    return max(
        _sound(done, "inputs"), key=lambda r: (r["metrics"]["reid_top1"], r["metrics"]["advantage"]), default=None
    )


def _row(record: Record) -> dict[str, Any]:
    cell, metrics = record["cell"], record["metrics"]
    row: dict[str, Any] = {
        "cut": cell["cut"], "defense": record["labels"]["defense"], "threat": cell["threat"], "goal": cell["goal"],
        "attack": record["labels"]["attack"], "half": record.get("bootstrap_ci95"), "n": record["n_targets"],
        "null_advantage": record["null"]["metrics"]["advantage"] if "null" in record else None,
        "control_advantage": record["control"]["advantage"] if "control" in record else None,
        "control_reid": record["control"]["reid_top1"] if "control" in record else None,
        "people": record.get("people"), "seconds": record["seconds_attack"],
    }  # fmt: skip
    return row | {name: metrics.get(name) for name in METRICS}


def _data(plan: Plan) -> dict[str, Any]:
    data = plan.data
    parts = {"members": data.private, "strangers": data.test, "aux": data.aux}
    found: dict[str, Any] = {
        name: {"records": len(part), "people": None if part.group is None else int(part.group.unique().numel())}
        for name, part in parts.items()
    }
    return found | {"shape": list(data.in_shape), "range": list(data.in_range), "task": data.task.kind}


def _declared(plan: Plan) -> dict[str, Any]:
    people = plan.asked.declared
    return {
        "holder": people.holder, "receiver": people.receiver, "candidates": people.candidates, "prior": people.prior,
        "protocol": plan.protocol, "threats": plan.threats(), "network": bool(plan.asked.client),
        "trained_here": bool(plan.asked.train),
    }  # fmt: skip


def _combined(plan: Plan, answer: dict[str, Any], done: Sequence[Record]) -> dict[str, Any]:
    """What follows from a measurement together with what was declared."""
    found: dict[str, Any] = {"cut": answer["cut"], "defense": answer["defense"]}
    own = [r for r in done if (r["cell"]["cut"], r["labels"]["defense"]) == (answer["cut"], answer["defense"])]
    best, declared = _finder(own), plan.asked.declared
    if best is not None:
        n = len(best["per_target"]["rank"])
        among = declared.candidates or n
        share = best["metrics"]["reid_top1"]
        found |= {
            "targets": n, "re_identified": share, "re_identified_interval": list(clopper_pearson(share, n)),
            "candidates": among, "re_identified_among_candidates_at_most": exposure.at_most_found(best, among),
            "members": len(plan.data.private), "members_re_identified": share * len(plan.data.private),
        }  # fmt: skip
    member = _strongest(own, "membership")
    if member is not None:
        rate, prior = member["metrics"]["tpr_at_1fpr"], declared.prior
        wrong = FPR * (1 - prior)
        found |= {"prior": prior, "precision_at_1fpr": rate * prior / (rate * prior + wrong)}
    return found


def _not_tested(plan: Plan, records: Sequence[Record], complete: bool) -> Iterable[str]:
    if complete:
        yield from matrix.read(plan.whole(), plan.base).notes
    else:
        yield "the standard suite: only the quick attacks ran"
    for cut, earlier in plan.cuts.items():
        if earlier is not None:
            yield f"cut {cut}: its message holds the same numbers as that of cut {earlier}"
    if not plan.asked.client:
        yield "whoever has the client's weights, or sends records of their own choice: only messages are here (client)"
    if not plan.asked.server:
        yield "a server that makes use of its own part of the network: it is not known (server)"
    if plan.protocol == "inference":
        yield "labels, gradients and hijacks: nothing but messages crosses (protocol 'inference')"
    if {"eavesdropper", "query_server"} <= {*plan.threats()}:
        yield "linkage and property through a substitute client: a query does what it does, and better"
    if plan.data.private.group is None:
        yield "linkage: the records name no persons (array 'group')"
    reasons: dict[str, list[str]] = {}
    for record in records:
        if record["status"] != "done":
            why = str(record["why"]).removeprefix("BadInput: ")
            reasons.setdefault(f"{record['status']}: {why}", []).append(record["labels"]["attack"])
    yield from (f"{', '.join(dict.fromkeys(attacks))} ({why})" for why, attacks in reasons.items())
    if not plan.asked.train:
        yield "an attacker who trains shadows of the whole network: there is no recipe of its training ([train])"


def lines(found: dict[str, Any]) -> Iterable[str]:
    """What the command prints: an answer for each cut and defence, at most 100 columns."""
    data = found["data"]
    parts = ((name, data[name]["records"]) for name in ("members", "strangers", "aux"))
    yield f"Records: {', '.join(f'{n} {name}' for name, n in parts)}"
    for one in found["measured"]["answers"]:
        head = f"cut {one['cut']}, {one['defense']}: "
        yield text.wrap(head + one["finding"], 100, indent=4)
        facts = [
            f"{one['numbers']} numbers for a record of {one['numbers_of_a_record']}",
            f"effective rank {one['effective_rank']:.0f}",
        ]
        if "linear_share" in one:
            facts.append(f"linear share {one['linear_share']:.2f}")
        if (best := one["strongest"].get("inputs")) is not None:
            facts.append(f"strongest {best['attack']} ({best['threat']})")
        if "utility" in one:
            facts.append(f"{one['utility_metric']} {one['utility']:.3f}")
        yield text.wrap(", ".join(facts), 100, indent=4, first=4)
