"""Warnings on a row: what each one means, and when it is raised. docs/reading.md says what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

from splitleak.records import Record
from splitleak.report.rows import RowKey
from splitleak.report.stale import stale
from splitleak.report.worst import Evidence

MEANINGS = {  # of each flag, short enough for one line
    "null-leak": "the attack also finds something on an empty channel: do not use",
    "attack-failed": "the attack works neither on the undefended victim nor here",
    "control-off-floor": "the blind guess is not at its floor: see docs/reading.md",
    "below-blind": "works undefended, here no better than a blind guess",
    "utility-collapse": "more than half of what the model had learned is gone",
    "early-collapse": "the model came to give one constant answer",
    "idle-defense": "the defence changed nothing: victim and messages are the undefended ones",
    "within-chance": "the interval over people holds 0: nothing was shown",
    "few-seeds": "fewer than three seeds",
    "worst-partial": "no suite is complete: attacks that were not run may do more than `worst`",
    "detected": "a defence saw the hijack and stopped the training",
    "patients-shared": "the same people are in several parts of the data",
    "reference-split": "test records are training records, as published",
    "test-in-train": "some test records are training records and were left out",
    "stale": "the code of a plug-in or of the harness has changed since: run it again",
}
PARTIAL = "worst-partial"
FEW = 3  # seeds below which a row has too few
NEAR = 0.02  # of the floor
USUAL_GAIN = 0.1  # above a constant answer: what the undefended victim counts as where its row is missing


def flags(key: RowKey, records: Sequence[Record], evidence: Evidence, base: Path) -> list[str]:
    """All flags of a row, in the order of MEANINGS; those of the data stand by name before `stale`."""
    done = evidence.done(key)
    found = [*_of_the_attack(key, done, evidence), *_of_the_victim(key, done, evidence)]
    if any(r.get("detected_at") is not None for r in done):
        found.append("detected")
    found += sorted({flag for r in done for flag in r["flags"]})
    return found + (["stale"] if any(stale(r, base) for r in records) else [])


def _of_the_attack(key: RowKey, done: Sequence[Record], evidence: Evidence) -> Iterator[str]:
    if any("null" in r and r["null"]["leaks"] for r in done):
        yield "null-leak"
    own = evidence.strength(key)
    if evidence.failed(key):
        yield "attack-failed"
    elif key.control and any(off_floor(r) for r in done):
        yield "control-off-floor"
    elif own is not None and own <= 0 and not key.control:
        yield "below-blind"


def _of_the_victim(key: RowKey, done: Sequence[Record], evidence: Evidence) -> Iterator[str]:
    if done and _utility_collapsed(key, evidence):
        yield "utility-collapse"
    if any(r.get("collapsed_at") is not None for r in done):
        yield "early-collapse"
    if _is_idle(key, done, evidence):
        yield "idle-defense"
    if _within_chance(key, done):
        yield "within-chance"
    if done and len(done) < FEW:
        yield "few-seeds"
    if done and evidence.suite(key) is None:
        yield PARTIAL


def _within_chance(key: RowKey, done: Sequence[Record]) -> bool:
    """Of property and linkage: the mean advantage is no further from 0 than the mean interval over people."""
    known = [r for r in done if r.get("people") is not None]
    if not known or key.control:
        return False
    return abs(mean(float(r["metrics"]["advantage"]) for r in known)) <= mean(r["bootstrap_ci95"] for r in known)


def _is_idle(key: RowKey, done: Sequence[Record], evidence: Evidence) -> bool:
    """Weights and messages are bit for bit those of the undefended victim, for every seed that both rows have."""
    if not key.defended:
        return False
    undefended = {r["cell"]["seed"]: r for r in evidence.done(key.undefended())}
    pairs = [(r, undefended[seed]) for r in done if (seed := r["cell"]["seed"]) in undefended]
    return bool(pairs) and all(_effect(one) and _effect(one) == _effect(other) for one, other in pairs)


def _effect(record: Record) -> tuple[str, str] | None:
    """None of an earlier record, which does not say."""
    return (record["weights"], record["crossed"]) if "weights" in record and "crossed" in record else None


def _utility_collapsed(key: RowKey, evidence: Evidence) -> bool:
    """More than half of what the undefended victim has above a constant answer is gone."""
    floor = mean(r["utility_floor"] for r in evidence.done(key))
    now = mean(float(r["utility"]) for r in evidence.done(key)) - floor
    undefended = evidence.done(key.undefended())
    before = mean(float(r["utility"]) for r in undefended) - floor if undefended else USUAL_GAIN
    return bool(now < before / 2)


def off_floor(record: Record) -> bool:
    """Is the advantage of a blind guess away from 0 by more than its interval over targets, and more than NEAR?"""
    return abs(float(record["metrics"]["advantage"])) > max(NEAR, float(record.get("bootstrap_ci95", 0)))
