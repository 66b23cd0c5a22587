"""A worker makes one victim or runs one cell, and leaves a file. It knows nothing of other workers.

It loads the dataset, and does the rest in a process of its own for each job, so that no job finds what a plug-in of an
earlier one has left. On a GPU and on macOS jobs share the worker's process: only settings are put back there.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from splitleak import apart
from splitleak.contract import Data, Diverged, Goal
from splitleak.contract.errors import Raised, printable
from splitleak.jobs import making, preload
from splitleak.jobs.versions import versions
from splitleak.plan.case import Case
from splitleak.plan.cell import Cell
from splitleak.process_settings import STANDARD, unchanged
from splitleak.score import judge, pictures
from splitleak.score.evaluate import evaluate
from splitleak.score.scene import Scene
from splitleak.store import SCHEMA, Store, digest
from splitleak.train import provenance
from splitleak.train.data import Digests, data_digest, load_aux, load_data
from splitleak.train.facts import Kept
from splitleak.train.fit import Tell


class Worker:
    """A results folder, the folder of the matrix, a device, and the seconds that a job may take (None: no limit).

    The last dataset stays in memory. digests: of each dataset of the run, which must be the same in every process.
    """

    def __init__(
        self, folder: Path, base: Path, device: str, timeout: float | None = None, digests: Digests | None = None
    ) -> None:
        self.store, self.base, self.device, self.timeout = Store(folder), base, torch.device(device), timeout
        self.digests: Digests = {} if digests is None else digests
        self._data: tuple[str, Data] | None = None
        self._aux: tuple[str, Data | None] | None = None
        self.tell: Tell = lambda position: None  # how far the present job is: "epoch 3/20"

    def case(self, cell: Cell) -> Case:
        """The cell with its plug-ins made."""
        return Case.of(cell, self.base)

    def data(self, case: Case) -> Data:
        """The records of a case, loaded again where a plug-in has changed those in memory."""
        key = digest([case.cell.dataset, case.cell.train.loss])  # the task holds the loss
        known = self.digests.get(digest(case.cell.dataset))
        if self._data is None or self._data[0] != key or data_digest(self._data[1]) != known:
            self._data = (key, load_data(case, self.device, self.digests))
        return self._data[1]

    def aux(self, case: Case) -> Data | None:
        """The records of the other dataset that the axis `aux` names, if it names one."""
        key = digest(case.cell.aux)
        if self._aux is None or self._aux[0] != key:
            self._aux = (key, load_aux(case, self.device, self.digests))
        return self._aux[1]

    def has_victim(self, cell: Cell) -> bool:
        """Whether the victim is kept, and was made by the present code and records."""
        case = self.case(cell)
        return making.is_kept(case, self.data(case), self.store)

    def make_victim(self, cell: Cell) -> None:
        """Train the victim of a cell and keep it."""
        case = self.case(cell)
        data = self.data(case)
        self._apart(lambda: making.make_victim(case, data, self.store, self.tell))

    def run_cell(self, cell: Cell) -> str:
        """Run a cell and write its record, also if it fails; returns the status."""
        case = self.case(cell)
        record = blank_record(case)
        start = time.perf_counter()
        try:
            data, other = self.data(case), self.aux(case)
            record |= self._apart(lambda: self._outcome(case, data, other))
        except Diverged as error:
            record |= {"status": "diverged", "why": printable(str(error))}
        except (apart.Died, KeyboardInterrupt):
            raise
        except BaseException as error:
            record |= failure(error)
        record["seconds"] = time.perf_counter() - start
        try:
            self.store.write_record(record)
        except (TypeError, ValueError) as error:  # a score that is no number or no plain value
            record = blank_record(case) | failure(error)
            self.store.write_record(record)
        return str(record["status"])

    def skip(self, cell: Cell) -> None:
        """Write the record of a cell that is not legal."""
        self.store.write_record(blank_record(self.case(cell)))

    def give_up(self, cell: Cell, why: dict[str, str]) -> None:
        """Write the record of a cell that cannot run."""
        self.store.write_record(blank_record(self.case(cell)) | why)

    def _apart(self, do: Callable[[], Any]) -> Any:
        """Do it in a process of its own where that is possible: its answer, positions and warnings come back."""
        if not apart.possible():
            with unchanged(STANDARD):
                return do()
        preload.preload()
        tell, modules = self.tell, set(sys.modules)

        def inside(say: apart.Say) -> Any:
            self.tell, self.store.warnings = lambda position: say(f"position {position}"), []
            try:
                return do()
            finally:
                say(f"modules {' '.join(preload.loaded_since(modules))}")
                for warning in self.store.warnings:
                    say(f"warning {warning}")

        hears: dict[str, Callable[[str], None]] = {
            "position": lambda said: tell(printable(said, 80)),
            "modules": lambda said: preload.load(said.split()),
            "warning": self.store.warnings.append,
        }
        return apart.call(inside, timeout=self.timeout, heard=lambda text: _pass_on(text, hears))

    def _outcome(self, case: Case, data: Data, other: Data | None) -> dict[str, Any]:
        kept = Kept.read(self.store, case.cell.victim_key)
        if kept is None:
            raise RuntimeError("its victim is missing")
        if kept.facts.diverged:
            raise Diverged(kept.facts.diverged)
        scene = Scene(case, data, kept, other=other)
        fields, guess = evaluate(scene, self.tell)
        if scene.goal is Goal.INPUTS and scene.data.task.kind == "classes":
            network = judge.judge_of(self.store, scene.data, digest(case.cell.dataset))
            fields["metrics"]["judge_accuracy"] = judge.accuracy(network, guess, scene.targets)
        span = scene.data.in_range if scene.goal is Goal.INPUTS else (0.0, 1.0)
        picture = pictures.sheet(scene.question.truth, guess, span)
        if picture is not None:
            fields["picture"] = self.store.write_picture(_title(case), picture)
        stopped = fields.get("detected_at", kept.facts.learned.detected_at)
        fields["detected_at"] = stopped if stopped >= 0 else None  # the step at which the client stopped
        return kept.facts.for_record() | fields | {"status": "done", "notes": list(scene.data.notes)}


def _pass_on(text: str, hears: dict[str, Callable[[str], None]]) -> None:
    kind, _, said = text.partition(" ")
    hears[kind](said)


def blank_record(case: Case) -> dict[str, Any]:
    """The fields of every record, whatever the result."""
    cell = case.cell
    return {
        "schema": SCHEMA,
        "key": cell.key,
        "cell": cell.resolved(),
        "labels": case.labels,
        "hashes": {kind: provenance.code_of(type(plugin)) for kind, plugin in case.plugins.items()},
        "versions": versions(),
        "status": "skipped" if cell.skip else "pending",
        "why": cell.skip,
    }


def failure(error: BaseException, before: str = "") -> dict[str, str]:
    """The fields of a record about an exception; `before` names what failed."""
    if isinstance(error, apart.TimedOut):
        return {"status": "failed", "why": f"{before}{error} (--timeout)"}
    raised = Raised.of(error)
    return {"status": "failed", "why": before + raised.why, "traceback": raised.traceback}


def _title(case: Case) -> str:
    """A file name that names the row of a picture; no other record has the same."""
    cell, labels = case.cell, case.labels
    cut = f"cut {cell.cut}" if cell.cut is not None else cell.federated or cell.protocol
    title = f"{labels['model']} {cut} {labels['defense']} {labels['attack']} {cell.threat} seed {cell.seed}"
    return re.sub(r"[^\w.=]+", "-", title)[:180] + f"-{cell.key[:8]}"
