"""Score a cell: run its attack on the kept victim, measure the guess, draw it.

This file and all that it imports are the code of a record, see `provenance`.
"""

from __future__ import annotations

import re
from typing import Any

from splitleak.contract import Data, Diverged, Goal
from splitleak.jobs import making
from splitleak.plan.case import Case
from splitleak.score import judge, pictures
from splitleak.score.evaluate import evaluate
from splitleak.score.scene import Scene
from splitleak.store import Store, digest
from splitleak.train import provenance
from splitleak.train.facts import Kept
from splitleak.train.fit import Tell
from splitleak.train.provenance import Hashes


def made_by(case: Case, device: str, records: str, aux_records: str | None) -> Hashes:
    """Everything behind a record except its cell; hashes of the dataset's records, and of those of the axis `aux`."""
    own = {"attack": provenance.code_and_files_of(case.attack), "scoring": provenance.code_hash_of(__file__)}
    if case.aux_dataset is not None and aux_records is not None:
        own["aux"] = digest([provenance.code_and_files_of(case.aux_dataset), aux_records])[:16]
    return making.made_by(case, records, device) | own


def score(case: Case, data: Data, other: Data | None, store: Store, tell: Tell) -> dict[str, Any]:
    """The fields of a record that is done. other: the records of the axis `aux`. Diverged if there is no victim."""
    kept = Kept.read(store, case.cell.victim_key)
    if kept is None:
        raise RuntimeError("its victim is missing")
    if kept.facts.diverged:
        raise Diverged(kept.facts.diverged)
    scene = Scene(case, data, kept, other=other, shadows=_shadows(case, store))
    fields, guess = evaluate(scene, tell)
    if scene.goal is Goal.INPUTS and scene.data.task.kind == "classes":
        network = judge.judge_of(store, scene.data, digest(case.cell.dataset))
        fields["metrics"]["judge_accuracy"] = judge.accuracy(network, guess, scene.targets)
    picture = pictures.picture(scene.question, guess)
    if picture is not None:
        fields["picture"] = store.write_picture(_title(case), picture)
    stopped = fields.get("detected_at", kept.facts.learned.detected_at)
    fields["detected_at"] = stopped if stopped >= 0 else None  # the step at which the client stopped
    return kept.facts.for_record() | fields | {"status": "done", "notes": list(scene.data.notes)}


def _shadows(case: Case, store: Store) -> list[Kept]:
    """The shadow victims that the attack asks for. Diverged if one has no weights."""
    found = []
    for cell in case.cell.victims[1:]:
        kept = Kept.read(store, cell.victim_key)
        if kept is None:
            raise RuntimeError(f"its shadow victim {cell.shadow} is missing")
        if kept.facts.diverged:
            raise Diverged(f"shadow victim {cell.shadow}: {kept.facts.diverged}")
        found.append(kept)
    return found


def _title(case: Case) -> str:
    """A file name that names the row of a picture; no other record has the same."""
    cell, labels = case.cell, case.labels
    cut = f"cut {cell.cut}" if cell.cut is not None else cell.federated or cell.protocol
    title = f"{labels['model']} {cut} {labels['defense']} {labels['attack']} {cell.threat} seed {cell.seed}"
    return re.sub(r"[^\w.=]+", "-", title)[:180] + f"-{cell.key[:8]}"
