"""What a worker does: train one victim, or run one cell, and leave a file. Nothing here knows of other workers."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any, cast

import torch

from splitleak.contract import Data, Goal, Model
from splitleak.contract.errors import Diverged
from splitleak.plan import plugins
from splitleak.plan.cell import SCHEMA, Cell, digest
from splitleak.plan.seeds import order_seed
from splitleak.score import channel, judge, pictures, utility
from splitleak.score.evaluate import evaluate
from splitleak.score.scene import Scene
from splitleak.store import Store
from splitleak.train import victim
from splitleak.train.checkpoint import Checkpoint
from splitleak.train.division import divide
from splitleak.train.victim import Victim

KINDS: tuple[plugins.Kind, ...] = ("dataset", "model", "defense", "attack")


class Worker:
    """A results folder, where plug-in files are named from, and a device; the last dataset is kept in memory."""

    def __init__(self, folder: Path, base: Path, device: str) -> None:
        self.store, self.base, self.device = Store(folder), base, torch.device(device)
        self._data: tuple[str, Data] | None = None

    def data(self, cell: Cell) -> Data:
        key = digest([cell.dataset, cell.train.loss])  # the task carries the loss
        if self._data is None or self._data[0] != key:
            self._data = (key, victim.load_data(cell, self.base, self.device))
        return self._data[1]

    def has_victim(self, cell: Cell) -> bool:
        """Is the victim kept, and made by the very code and records that are here now?"""
        facts = self.store.victim_facts(cell.victim_key)
        if facts is not None and digest(facts.get("victim")) != cell.victim_key:
            self.store.set_aside(self.store.victim_path(cell.victim_key), ValueError("it is another cell's victim"))
            return False
        return facts is not None and facts["made_by"] == victim.made_by(cell, self.data(cell), self.base)

    def make_victim(self, cell: Cell) -> None:
        """Train, judge its utility, keep it. One that diverges is kept as such: it would do so again."""
        data = self.data(cell)
        made = victim.fresh(cell, data, self.base)
        facts: dict[str, Any] = {"victim": cell.victim(), "made_by": victim.made_by(cell, data, self.base)}
        checkpoint = Checkpoint(self.store, cell.victim_key, facts["made_by"])
        try:
            facts |= self._of_another_cut(made, facts["made_by"]) or victim.train(made, checkpoint)
            facts |= utility.facts(made)
            up, down = channel.wire_bytes(made)
            facts |= {
                "utility_floor": utility.floor(made),
                "bytes_up": up,
                "bytes_down": down,
            }
            facts |= _privacy(made)
        except Diverged as error:
            facts["diverged"] = str(error)
        except SystemExit as error:  # a plug-in's; it must not end the run
            raise RuntimeError(f"SystemExit: {error}") from error
        self.store.write_victim(cell.victim_key, {} if "diverged" in facts else made.tensors(), facts)
        checkpoint.delete()

    def _of_another_cut(self, made: Victim, made_by: dict[str, str]) -> dict[str, Any] | None:
        """Undefended, a lone client's split learns the same bits wherever it is cut: take them from a kept one."""
        cell = made.cell
        if cell.defense["name"] != "none" or cell.clients.n > 1 or made.whole:
            return None
        model = cast(Model, plugins.make("model", cell.model, self.base))
        for cut in model.cuts(cell.protocol):
            twin = replace(cell, cut=cut)
            kept = self.store.victim(twin.victim_key)
            if kept is not None and kept[1]["made_by"] == made_by and "diverged" not in kept[1]:
                other = victim.fresh(twin, made.data, self.base)
                other.load(kept[0])
                victim.copy_weights(made.split, other.split)
                return {name: kept[1][name] for name in victim.LEARNED if name in kept[1]}
        return None

    def run_cell(self, cell: Cell) -> str:
        """Run a cell and write its record, whatever happens; returns the status."""
        record = self.blank(cell)
        start = time.perf_counter()
        try:
            record |= self._outcome(cell)
        except Diverged as error:
            record |= {"status": "diverged", "why": str(error)}
        except (Exception, SystemExit) as error:
            record |= failure(error)
        record["seconds"] = time.perf_counter() - start
        try:
            self.store.write_record(record)
        except (TypeError, ValueError) as error:  # a score that is no number, or no plain value
            record = self.blank(cell) | failure(error)
            self.store.write_record(record)
        return str(record["status"])

    def _outcome(self, cell: Cell) -> dict[str, Any]:
        kept = self.store.victim(cell.victim_key)
        if kept is None:
            raise RuntimeError("its victim is missing")
        facts = kept[1]
        if "diverged" in facts:
            raise Diverged(facts["diverged"])
        scene = Scene(cell, self.data(cell), self.base, kept)
        found = evaluate(scene)
        if scene.goal is Goal.INPUTS and scene.data.task.kind == "classes":
            network = judge.judge_of(self.store, scene.data, digest(cell.dataset))
            found["metrics"]["judge_accuracy"] = judge.accuracy(network, found["guess"], scene.targets)
        span = scene.data.in_range if scene.goal is Goal.INPUTS else (0.0, 1.0)
        picture = pictures.sheet(scene.question.truth, found.pop("guess"), span)
        if picture is not None:
            found["picture"] = self.store.write_picture(self._title(cell), picture)
        copied = (
            "utility_metric",
            "utility",
            "utility_floor",
            "utility_also",
            "utility_clients",
            "bytes_up",
            "bytes_down",
            "seconds_train",
            "epsilon",
            "epsilon_one",
            "delta",
            "utility_curve",
            "loss_curve",
            "loss_constant",
            "collapsed_at",
        )
        whole = {name: facts.get(name) for name in copied} | found
        seen = found.get("detected_at", facts["detected_at"])
        whole["detected_at"] = seen if seen >= 0 else None  # the step at which the client stopped
        return whole | {"status": "done", "notes": list(scene.data.notes)}

    def _title(self, cell: Cell) -> str:
        """A file name that tells a reader which row it is, and this record from all others."""
        model = plugins.label("model", cell.model, self.base)
        defense = plugins.label("defense", cell.defense, self.base)
        attack = plugins.label("attack", cell.attack, self.base)
        cut = f"cut {cell.cut}" if cell.cut is not None else cell.federated or cell.protocol
        where = f"{model} {cut} {defense} {attack} {cell.threat} seed {cell.seed}"
        return re.sub(r"[^\w.=]+", "-", where)[:180] + f"-{cell.key[:8]}"

    def blank(self, cell: Cell) -> dict[str, Any]:
        """What every record says, whatever came of it."""
        specs = (cell.dataset, cell.model, cell.defense, cell.attack)
        pairs = list(zip(KINDS, specs, strict=True))
        return {
            "schema": SCHEMA,
            "key": cell.key,
            "cell": cell.resolved(),
            "labels": {kind: plugins.label(kind, spec, self.base) for kind, spec in pairs},
            "hashes": {kind: plugins.file_hash(plugins.find(kind, spec["name"], self.base)) for kind, spec in pairs},
            "versions": versions(),
            "status": "skipped" if cell.skip else "pending",
            "why": cell.skip,
        }


def _privacy(made: Victim) -> dict[str, Any]:
    """The guarantee after every epoch's message and the release, for a record of the client that is worst off."""
    train, data = made.cell.train, made.data
    parts = divide(data.private, made.cell.clients, data.task, order_seed(made.cell))
    counts = {ceil(len(part) / train.batch_size) for part in parts}
    releases = train.epochs + 1
    if made.cell.federated is not None:
        counts, releases = {1}, made.cell.federated.rounds
    promises = [made.defense.privacy(releases, batches) for batches in counts]
    promise = max((p for p in promises if p), key=lambda p: p.epsilon, default=None)
    if promise is None or made.protocol == "central":  # a network that was never cut is trained without a defence
        return {}
    return {"epsilon": promise.epsilon, "epsilon_one": promise.epsilon_one, "delta": promise.delta}


def failure(error: BaseException, before: str = "") -> dict[str, Any]:
    """What a record says of an exception; `before` it stands whose it was."""
    first = str(error).strip().splitlines() or [""]
    trace = "".join(traceback.format_exception(error))
    return {"status": "failed", "why": f"{before}{type(error).__name__}: {first[0]}", "traceback": trace}


@lru_cache
def versions() -> dict[str, str]:
    """What a number was made with: packages, machine, commit of the source tree if it is one."""
    import numpy

    from splitleak import __version__

    here = Path(__file__).resolve().parent
    told = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return {
        "splitleak": __version__,
        "commit": told.stdout.strip(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "machine": platform.machine(),
    }
