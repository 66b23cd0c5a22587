"""A worker makes one victim or runs one cell, and leaves a file. It knows nothing of other workers.

It loads the dataset, and does the rest in a process of its own for each job, so that no job finds what a plug-in of an
earlier one has left. On a GPU and on macOS jobs share the worker's process: only settings are put back there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from splitleak import apart
from splitleak.contract import Data, Diverged
from splitleak.contract.errors import Raised
from splitleak.contract.plugin import Spec
from splitleak.jobs import making, preload, scoring
from splitleak.jobs.versions import versions
from splitleak.plan.case import Case
from splitleak.plan.cell import Cell
from splitleak.printable import in_a_line
from splitleak.process_settings import STANDARD, unchanged
from splitleak.store import SCHEMA, Store, digest
from splitleak.train import provenance
from splitleak.train.data import Digests, aux_spec, data_digest, load_aux, load_data
from splitleak.train.fit import Tell
from splitleak.train.provenance import Hashes

FINAL = ("done", "diverged")  # a record with such a status is made again only if what is behind it has changed


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

    def made_by(self, case: Case) -> Hashes:
        """The present code and records behind the record of a cell."""
        aux = None if case.aux_dataset is None else self._digest(aux_spec(case), lambda: self.aux(case))
        records = self._digest(case.cell.dataset, lambda: self.data(case))
        return scoring.made_by(case, self.device.type, records, aux)

    def _digest(self, spec: Spec, load: Callable[[], Any]) -> str:
        """The hash of the records of a dataset, which is loaded if that was not done before."""
        if digest(spec) not in self.digests:
            load()
        return self.digests[digest(spec)]

    def is_current(self, cell: Cell, record: dict[str, Any]) -> bool:
        """Whether a record is final, and the code and records behind it are those of today."""
        if cell.skip or record["status"] == "skipped":
            return bool(record["status"] == "skipped" and record["why"] == cell.skip)
        return record["status"] in FINAL and record.get("made_by") == self.made_by(self.case(cell))

    def has_victim(self, cell: Cell) -> bool:
        """Whether the victim is kept, and was made by the present code and records."""
        case = self.case(cell)
        records = self._digest(cell.dataset, lambda: self.data(case))
        return making.is_kept(case, making.made_by(case, records, self.device.type), self.store)

    def make_victim(self, cell: Cell) -> None:
        """Train the victim of a cell and keep it."""
        case = self.case(cell)
        data = self.data(case)
        self._apart(lambda: making.make_victim(case, data, self.store, self.tell))

    def run_cell(self, cell: Cell) -> str:
        """Run a cell and write its record, also if it fails; returns the status."""
        case = self.case(cell)
        record = self.blank_record(case)
        start = time.perf_counter()
        try:
            data, other = self.data(case), self.aux(case)
            record["made_by"] = self.made_by(case)
            record |= self._apart(lambda: scoring.score(case, data, other, self.store, self.tell))
        except Diverged as error:
            record |= {"status": "diverged", "why": in_a_line(str(error))}
        except (apart.Died, KeyboardInterrupt):
            raise
        except BaseException as error:
            record |= failure(error)
        record["seconds"] = time.perf_counter() - start
        try:
            self.store.write_record(record)
        except (TypeError, ValueError) as error:  # a score that is no number or no plain value
            record = self.blank_record(case) | failure(error)
            self.store.write_record(record)
        return str(record["status"])

    def skip(self, cell: Cell) -> None:
        """Write the record of a cell that is not legal."""
        self.store.write_record(self.blank_record(self.case(cell)))

    def give_up(self, cell: Cell, why: dict[str, str]) -> None:
        """Write the record of a cell that cannot run."""
        self.store.write_record(self.blank_record(self.case(cell)) | why)

    def blank_record(self, case: Case) -> dict[str, Any]:
        """The fields of every record, whatever the result."""
        cell = case.cell
        return {
            "schema": SCHEMA,
            "key": cell.key,
            "cell": cell.resolved(),
            "labels": case.labels,
            "hashes": {kind: provenance.code_of(type(plugin)) for kind, plugin in case.plugins.items()},
            "base": str(self.base.resolve()),
            "versions": versions(),
            "status": "skipped" if cell.skip else "pending",
            "why": cell.skip,
        }

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
            "position": lambda said: tell(in_a_line(said, 80)),
            "modules": lambda said: preload.load(said.split()),
            "warning": self.store.warnings.append,
        }
        return apart.call(inside, timeout=self.timeout, heard=lambda text: _pass_on(text, hears))


def _pass_on(text: str, hears: dict[str, Callable[[str], None]]) -> None:
    kind, _, said = text.partition(" ")
    hears[kind](said)


def failure(error: BaseException, before: str = "") -> dict[str, str]:
    """The fields of a record about an exception; `before` names what failed."""
    if isinstance(error, apart.TimedOut):
        return {"status": "failed", "why": f"{before}{error} (--timeout)"}
    raised = Raised.of(error)
    return {"status": "failed", "why": before + raised.why, "traceback": raised.traceback}
