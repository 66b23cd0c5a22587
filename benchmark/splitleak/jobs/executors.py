"""Executors carry out a schedule: in this process, or on processes of one thread each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Protocol

import torch

from splitleak.contract import BadInput
from splitleak.jobs.schedule import Job, Schedule
from splitleak.jobs.worker import Worker, failure

TRIES = 2  # a job that kills its process so often is a failed one
Outcome = tuple[str, list[str]]  # status of a job, and warnings about damaged files


class Observer(Protocol):
    """An object that shows the progress of a run."""

    def started(self, job: Job) -> None: ...

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
                try:
                    status = carry_out(job, self.worker)
                except BadInput:
                    raise
                except Exception as error:
                    if job.kind == "cell":
                        raise
                    self.fail(job, failure(error, "its victim failed: "))
                else:
                    self.succeed(job, status)
        finally:
            torch.set_num_threads(threads)


class Processes(Executor):
    """Pools of one process each. A job whose process dies is tried again once, in a new process."""

    def __init__(self, schedule: Schedule, worker: Worker, observer: Observer, processes: int) -> None:
        super().__init__(schedule, worker, observer)
        self.context = multiprocessing.get_context("spawn")
        self.alive, self.keep_open = self.context.Pipe(duplex=False)  # closing it ends every process, busy or not
        self.idle = [self._process() for _ in range(min(processes, schedule.jobs))]
        self.running: dict[Future[Outcome], tuple[Job, ProcessPoolExecutor]] = {}
        self.deaths: dict[str, int] = {}

    def run(self) -> None:
        try:
            while self._start_jobs() or self.running:
                done, _ = wait(self.running, return_when=FIRST_COMPLETED)
                for future in done:
                    self._collect(future, *self.running.pop(future))
        finally:
            self.keep_open.close()
            for process in (*self.idle, *(process for _, process in self.running.values())):
                process.shutdown(wait=False, cancel_futures=True)

    def _start_jobs(self) -> bool:
        """Give every idle process a job; returns whether one was started."""
        started = False
        while self.idle and (job := self.schedule.next(longest_first=True)) is not None:
            process = self.idle.pop()
            self.running[process.submit(_in_process, job)] = job, process
            self.observer.started(job)
            started = True
        return started

    def _collect(self, future: Future[Outcome], job: Job, process: ProcessPoolExecutor) -> None:
        try:
            status, warnings = future.result()
            self.worker.store.warnings += warnings
            self.succeed(job, status)
        except BrokenProcessPool:
            process = self._process()
            self._died(job)
        except BadInput:  # the folder cannot be written: nothing that follows could be kept
            raise
        except Exception as error:
            if job.kind == "cell":
                raise
            self.fail(job, failure(error, "its victim failed: "))
        self.idle.append(process)

    def _died(self, job: Job) -> None:
        self.deaths[job.key] = self.deaths.get(job.key, 0) + 1
        if self.deaths[job.key] < TRIES:
            self.schedule.again(job)
            return
        name = "victim" if job.kind == "victim" else "attack"
        why = f"its {name}'s process died {TRIES} times (killed, or out of memory)"
        self.fail(job, {"status": "failed", "why": why})

    def _process(self) -> ProcessPoolExecutor:
        folder, base, device = self.worker.store.folder, self.worker.base, self.worker.device.type
        return ProcessPoolExecutor(1, self.context, _begin, (folder, base, device, self.alive))


def carry_out(job: Job, worker: Worker) -> str:
    """Do one job; returns its status."""
    if job.kind == "cell":
        return worker.run_cell(job.cell)
    worker.make_victim(job.cell)
    return "victim"


_worker: Worker | None = None  # of this process, if it was started by Processes


def _begin(folder: Path, base: Path, device: str, alive: Connection) -> None:
    """Set up a process of one thread that does not outlive the run that started it."""
    global _worker
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run answers Ctrl-C
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel, alive), daemon=True).start()
    _worker = Worker(folder, base, device)


def _die_with(*ends: int | Connection) -> None:
    wait_for(ends)
    os._exit(1)


def _in_process(job: Job) -> Outcome:
    if _worker is None:
        raise RuntimeError("a worker process was not started")
    status = carry_out(job, _worker)
    warnings, _worker.store.warnings = _worker.store.warnings, []
    return status, warnings
