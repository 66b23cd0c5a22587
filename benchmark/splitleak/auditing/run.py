"""Carry out an audit: the quick attacks, a first answer, then the standard suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splitleak import api
from splitleak.auditing import outcome
from splitleak.auditing.outcome import Audit
from splitleak.auditing.plans import Plan
from splitleak.plan import matrix
from splitleak.records import Record


@dataclass(frozen=True)
class How:
    """Where and how an audit is carried out."""

    folder: Path  # of audit.json and the records of the attacks
    quick: bool = False  # only the attacks of seconds
    workers: int = 1  # processes
    device: str = "cpu"
    progress: bool = False
    say: Callable[[str], None] = lambda text: None  # hears each answer
    command: str = ""  # that repeats it

    def run(self, plan: Plan, whole: dict[str, Any]) -> list[Record]:
        """The records of a matrix; what was finished before is not run again."""
        cells = matrix.read(whole, plan.base)
        return api.run_cells(cells, self.folder, self.workers, self.device, {"progress": self.progress})


def carry_out(plan: Plan, how: How) -> Audit:
    """Attack every cut behind every defence."""
    quick = how.run(plan, plan.quick())
    audit = _written(outcome.gathered(plan, quick, how.folder), how)
    how.say(f"First answer, from attacks of seconds:\n{audit}")
    if how.quick:
        return audit
    audit = _written(outcome.gathered(plan, how.run(plan, plan.whole()), how.folder, quick), how)
    how.say(f"\nAnswer of the whole suite:\n{audit}")
    return audit


def _written(found: outcome.Findings, how: How) -> Audit:
    audit = Audit(found | {"command": how.command}, how.folder)
    audit.write()
    return audit
