"""The jobs that a run still has to do, and the order in which they can start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from splitleak.jobs.worker import Worker
from splitleak.plan.cell import Cell


@dataclass(frozen=True)
class Job:
    """A victim to train or a cell to run."""

    kind: Literal["victim", "cell"]
    cell: Cell

    @property
    def key(self) -> str:
        return self.cell.victim_key if self.kind == "victim" else self.cell.key

    @property
    def rank(self) -> int:
        """Hijacks first, since they last longest; then victims; then the attacks on them."""
        return 1 if self.kind == "victim" else 0 if self.cell.tampers else 2


@dataclass
class Schedule:
    """Jobs that can start now, and cells that wait for a victim."""

    ready: list[Job] = field(default_factory=list)
    waiting: dict[str, list[Cell]] = field(default_factory=dict)  # key of a victim -> cells; shadows: of several
    finished: int = 0  # cells that have a record of the present code and records already

    @classmethod
    def of(cls, cells: Sequence[Cell], worker: Worker) -> Schedule:
        """Sort cells into finished, ready and waiting; the records of skipped cells are written at once."""
        schedule, kept, victims = cls(), dict[str, bool](), list[Job]()
        for cell in cells:
            record = worker.store.record(cell.key)
            if record is not None and worker.is_current(cell, record):
                schedule.finished += 1
            elif cell.skip:
                worker.skip(cell)
                schedule.finished += 1
            else:
                for one in cell.victims:
                    if one.victim_key not in kept:
                        kept[one.victim_key] = worker.has_victim(one)
                missing = [one for one in cell.victims if not kept[one.victim_key]]
                victims += [Job("victim", one) for one in missing if one.victim_key not in schedule.waiting]
                for one in missing:
                    schedule.waiting.setdefault(one.victim_key, []).append(cell)
                if not missing:
                    schedule.ready.append(Job("cell", cell))
        schedule.ready += victims
        return schedule

    @property
    def jobs(self) -> int:
        """How many jobs are left."""
        return len(self.ready) + len(self._waiting())

    @property
    def cells(self) -> list[Cell]:
        """The cells that are left."""
        return [job.cell for job in self.ready if job.kind == "cell"] + [*self._waiting().values()]

    def _waiting(self) -> dict[str, Cell]:
        """Each cell that waits once, by its key."""
        return {cell.key: cell for cells in self.waiting.values() for cell in cells}

    def next(self, *, longest_first: bool) -> Job | None:
        """Take the next job: the one that lasts longest, or simply the first."""
        if not self.ready:
            return None
        first = min(range(len(self.ready)), key=lambda i: self.ready[i].rank if longest_first else 0)
        return self.ready.pop(first)

    def again(self, job: Job) -> None:
        """Put back a job whose process died."""
        self.ready.append(job)

    def free(self, job: Job) -> None:
        """A job has ended well. Cells that waited for its victim alone can start now, before all others."""
        if job.kind == "victim":
            done, left = self.waiting.pop(job.key), self._waiting()
            self.ready[:0] = [Job("cell", cell) for cell in done if cell.key not in left]

    def lose(self, job: Job) -> list[Cell]:
        """A job has failed. Returns the cells that cannot run now."""
        if job.kind == "cell":
            return [job.cell]
        lost = {cell.key: cell for cell in self.waiting.pop(job.key)}
        for cells in self.waiting.values():
            cells[:] = [cell for cell in cells if cell.key not in lost]
        return [*lost.values()]
