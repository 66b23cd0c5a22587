"""The executor on several processes of one thread each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path

import torch

from splitleak.contract import BadInput
from splitleak.jobs.executors import Executor, Observer, carry_out
from splitleak.jobs.schedule import Job, Schedule
from splitleak.jobs.worker import Worker, failure

TICK = 0.2  # seconds between two looks for a new process or the end of the run
TRIES = 2  # a job that kills its process so often is a failed one
Outcome = tuple[str, list[str]]  # status of a job, and warnings about damaged files


class Processes(Executor):
    """Pools of one process each. A job whose process dies is tried again once, in a new process."""

    def __init__(self, schedule: Schedule, worker: Worker, observer: Observer, processes: int) -> None:
        super().__init__(schedule, worker, observer)
        self.context = multiprocessing.get_context("spawn")
        self.alive, self.keep_open = self.context.Pipe(duplex=False)  # closing it ends every process, busy or not
        self.positions = Positions(observer)
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
            self.positions.close()
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
        receiver, sender = self.context.Pipe(duplex=False)  # one for each: a killed process can block no other
        self.positions.add(receiver)
        return ProcessPoolExecutor(1, self.context, _begin, (folder, base, device, self.alive, sender))


class Positions:
    """Receives from every process how far its job is, and tells the observer."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.receivers: list[Connection] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.thread.start()

    def add(self, receiver: Connection) -> None:
        self.receivers.append(receiver)

    def close(self) -> None:
        self.over.set()
        self.thread.join()

    def _receive(self) -> None:
        while not self.over.wait(TICK if not self.receivers else 0):
            readable = wait_for(list(self.receivers), TICK)
            for receiver in [one for one in self.receivers if one in readable]:
                self._take(receiver)

    def _take(self, receiver: Connection) -> None:
        """Pass on one message; a process that has ended is forgotten."""
        try:
            self.observer.moved(*receiver.recv())
        except (EOFError, OSError):
            self.receivers.remove(receiver)


_worker: Worker | None = None  # of this process, if it was started by Processes
_positions: Connection | None = None  # where this process says how far its job is


def _begin(folder: Path, base: Path, device: str, alive: Connection, positions: Connection) -> None:
    """Set up a process of one thread that does not outlive the run that started it."""
    global _worker, _positions
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run answers Ctrl-C
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel, alive), daemon=True).start()
    _worker, _positions = Worker(folder, base, device), positions


def _die_with(*ends: int | Connection) -> None:
    wait_for(ends)
    os._exit(1)


def _in_process(job: Job) -> Outcome:
    if _worker is None or _positions is None:
        raise RuntimeError("a worker process was not started")
    positions = _positions
    _worker.tell = lambda position: positions.send((job, position))
    status = carry_out(job, _worker)
    warnings, _worker.store.warnings = _worker.store.warnings, []
    return status, warnings
