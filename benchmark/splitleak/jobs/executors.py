"""Executors carry out a schedule. `Serial` has one worker, in this process; `processes.Processes` has several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Protocol

from splitleak.apart import Died
from splitleak.contract import BadInput
from splitleak.jobs.schedule import Job, Schedule
from splitleak.jobs.worker import Worker, failure
from splitleak.process_settings import STANDARD, unchanged

TRIES = 2  # a job whose process dies so often is a failed one


class Observer(Protocol):
    """An object that shows the progress of a run."""

    def started(self, job: Job) -> None: ...

    def moved(self, job: Job, position: str) -> None:
        """`position` says how far a running job is: "epoch 3/20"."""

    def ended(self, job: Job, status: str) -> None: ...


class Executor(ABC):
    """Runs every job of a schedule. A victim that fails makes only its own cells fail."""

    def __init__(self, schedule: Schedule, worker: Worker, observer: Observer) -> None:
        self.schedule, self.worker, self.observer = schedule, worker, observer
        self.deaths: dict[str, int] = {}  # of the processes of a job, by its key

    @abstractmethod
    def run(self) -> None:
        """Carry out the whole schedule."""

    def started(self, job: Job) -> None:
        if job.key not in self.deaths:
            self.observer.started(job)

    def succeed(self, job: Job, status: str) -> None:
        self.observer.ended(job, status)
        self.schedule.free(job)

    def raised(self, job: Job, error: Exception) -> None:
        """An exception of a victim's training makes its cells fail. Any other one ends the run: it is raised again.

        A cell writes its own failure into its record, so what it raises is BadInput, such as a folder that cannot be
        written, or a mistake of the harness.
        """
        if job.kind == "cell" or isinstance(error, BadInput):
            raise error
        self.fail(job, failure(error, "its victim failed: "))

    def died(self, job: Job, how: str) -> None:
        """The process of a job has died: it is tried again, or has failed."""
        self.deaths[job.key] = self.deaths.get(job.key, 0) + 1
        if self.deaths[job.key] < TRIES:
            self.schedule.again(job)
            return
        name = "victim" if job.kind == "victim" else "attack"
        self.fail(job, {"status": "failed", "why": f"its {name}'s process died {TRIES} times ({how})"})

    def fail(self, job: Job, why: dict[str, str]) -> None:
        if job.kind == "victim":
            self.observer.ended(job, "failed")
        for cell in self.schedule.lose(job):
            self.worker.give_up(cell, why)
            self.observer.ended(Job("cell", cell), "failed")


class Serial(Executor):
    """One job after the other; the cells of a victim follow it at once."""

    def run(self) -> None:
        with unchanged(STANDARD):
            while (job := self.schedule.next(longest_first=False)) is not None:
                self.started(job)
                self.worker.tell = partial(self.observer.moved, job)
                try:
                    status = carry_out(job, self.worker)
                except Died as error:
                    self.died(job, str(error))
                except Exception as error:
                    self.raised(job, error)
                else:
                    self.succeed(job, status)


def carry_out(job: Job, worker: Worker) -> str:
    """Do one job; returns its status."""
    if job.kind == "cell":
        return worker.run_cell(job.cell)
    worker.make_victim(job.cell)
    return "victim"
