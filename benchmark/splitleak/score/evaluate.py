"""Score one cell: the run of the attack, its run on the null channel, and what the record says about both."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean
from typing import Any

from torch import Tensor

from splitleak.contract import Goal
from splitleak.plan.seeds import Stream
from splitleak.score import channel, levels, people, runs
from splitleak.score.question import OF_PEOPLE
from splitleak.score.scene import Scene
from splitleak.score.similarity import ranks
from splitleak.store import digest, fingerprint
from splitleak.train.fit import Tell
from splitleak.train.victim import fresh


def evaluate(scene: Scene, tell: Tell | None = None) -> tuple[dict[str, Any], Tensor]:
    """Run and score the attack: the fields of the record, and the guess for the targets. `tell` hears logged steps."""
    question, cell, seeds = scene.question, scene.cell, scene.case.seeds
    ran = runs.run(scene, tell=tell)
    guess = ran.guess[scene.own]
    fields: dict[str, Any] = (
        {
            "metrics": question.score(guess) | levels.beside(scene),
            "bootstrap_ci95": question.ci95(guess, seeds.of("bootstrap")),
            "floor": question.floor.kind,
            "n_targets": len(question.counted),
            "flags": scene.flags,
        }
        | ran.facts
        | effect(scene)
    )
    if scene.goal in OF_PEOPLE:
        fields["people"] = people.count(scene.targets.group)
    if scene.goal is Goal.MEMBERSHIP:
        fields["test_in_train"] = scene.test_in_train
        member = scene.member.long().tolist()
        fields["per_record"] = {"id": scene.targets.id.tolist(), "member": member, "score": guess.tolist()}
    if scene.goal is Goal.INPUTS and cell.evaluate.per_record:
        fields["per_target"] = of_each(scene, guess)
    if len(scene.strangers):
        scores = scene.control.score(ran.guess[scene.theirs])
        fields["control"] = {"n": len(scene.strangers)} | {name: scores[name] for name in ("advantage", "reid_top1")}
    if cell.null:
        fields["null"] = on_null_channel(scene)
    if cell.evaluate.draws > 1 and scene.goal is Goal.LABELS and "hints" in fields["read"]:
        fields |= with_other_hints(scene, fields["metrics"])
    return fields, guess


def of_each(scene: Scene, guess: Tensor) -> dict[str, list[Any]]:
    """How well each target was guessed, see `records.PerTargetFields`."""
    per, ids = scene.question.per_target(guess), scene.targets.id.cpu()
    rank, nearest = ranks(guess, scene.question.truth)
    skill = 1 - per.guess / per.floor.clamp(min=1e-12 * float(per.floor.mean()))
    return {"id": ids.tolist(), "skill": skill.tolist(), "rank": rank.tolist(), "nearest": ids[nearest].tolist()}


def effect(scene: Scene) -> dict[str, str]:
    """Hashes of all that a defence can change: the trained network, and what crosses for the targets after training.

    The names of the weights do not count. Of updates only counts whether the server receives each or their sum.
    """
    tensors, victim = scene.kept.tensors, fresh(scene.case, scene.data)
    victim.load(tensors)
    weights = sorted(fingerprint({"": t}) for name, t in tensors.items() if name.startswith("split."))
    crossed = "sum" if victim.defense.sums else "each"
    if victim.cut:
        crossed = fingerprint(channel.release(victim, scene.targets, Stream(scene.case.seeds.of("release"))))
    return {"weights": digest(weights), "crossed": crossed}


def on_null_channel(scene: Scene) -> dict[str, Any]:
    """The scores of the same attack on a channel without information, and whether it still finds something."""
    guess = runs.run(scene, null=True).guess[scene.own]
    scores = scene.question.score(guess)
    leaks, p = scene.question.null_leaks(guess, scores["advantage"], scene.case.seeds.of("null"))
    return {"metrics": scores, "leaks": leaks, "p": p}


def with_other_hints(scene: Scene, first: dict[str, float]) -> dict[str, Any]:
    """The same attack with other draws of the hints: the means over all draws, and the score of each."""
    scores = [first]
    for draw in range(1, scene.cell.evaluate.draws):
        other = replace(scene, draw=draw)
        scores.append(other.question.score(runs.run(other).guess))
    each = {name: [score[name] for score in scores] for name in first}
    shown = {name: each[name] for name in ("advantage", "label_accuracy") if name in each}
    means = {name: mean(values) for name, values in each.items()}
    return {"metrics": means, "draws": {"n": len(scores), **shown, "min": min(each["advantage"])}}
