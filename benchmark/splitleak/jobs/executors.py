"""Executors carry out a schedule. `Serial` does it in this process, `processes.Processes` on several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Protocol

import torch

from splitleak.contract import BadInput
from splitleak.jobs.schedule import Job, Schedule
from splitleak.jobs.worker import Worker, failure


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

    @abstractmethod
    def run(self) -> None:
        """Carry out the whole schedule."""

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

    def fail(self, job: Job, why: dict[str, str]) -> None:
        if job.kind == "victim":
            self.observer.ended(job, "failed")
        for cell in self.schedule.lose(job):
            self.worker.give_up(cell, why)
            self.observer.ended(Job("cell", cell), "failed")


class Serial(Executor):
    """One job after the other in this process; the cells of a victim follow it at once."""

    def run(self) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            while (job := self.schedule.next(longest_first=False)) is not None:
                self.observer.started(job)
                self.worker.tell = partial(self.observer.moved, job)
                try:
                    status = carry_out(job, self.worker)
                except Exception as error:
                    self.raised(job, error)
                else:
                    self.succeed(job, status)
        finally:
            torch.set_num_threads(threads)


def carry_out(job: Job, worker: Worker) -> str:
    """Do one job; returns its status."""
    if job.kind == "cell":
        return worker.run_cell(job.cell)
    worker.make_victim(job.cell)
    return "victim"
