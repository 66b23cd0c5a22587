"""The executor on several processes of one thread each."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path

import torch

from splitleak.apart import Died
from splitleak.jobs.executors import Executor, Observer, carry_out
from splitleak.jobs.interrupts import Interrupts, no_interrupts_for_children
from splitleak.jobs.positions import Positions, teller
from splitleak.jobs.schedule import Job, Schedule
from splitleak.jobs.worker import Worker
from splitleak.train.data import Digests

TICK = 0.2  # seconds between two looks for Ctrl-C
Same = tuple[Path, Path, str, float | None, Digests]  # what the workers have in common: the arguments of `Worker`
Outcome = tuple[str, list[str]]  # status of a job, and warnings about damaged files


@dataclass
class Process:
    """A pool of one process, and the pipe through which it says how far its job is."""

    pool: ProcessPoolExecutor
    positions: Connection

    def shutdown(self) -> None:
        self.pool.shutdown(cancel_futures=True)


class Processes(Executor):
    """Jobs on several processes. A job whose process dies is tried again once, in a new process."""

    def __init__(self, schedule: Schedule, worker: Worker, observer: Observer, processes: int) -> None:
        super().__init__(schedule, worker, observer)
        self.context = multiprocessing.get_context("spawn")
        self.alive, self.keep_open = self.context.Pipe(duplex=False)  # closing it ends every process, busy or not
        self.positions = Positions(observer)
        self.idle = [self._process() for _ in range(min(processes, schedule.jobs))]
        self.running: dict[Future[Outcome], tuple[Job, Process]] = {}

    def run(self) -> None:
        with Interrupts() as interrupts:
            try:
                while self._start_jobs() or self.running:
                    done, _ = wait(self.running, TICK, FIRST_COMPLETED)
                    for future in done:
                        self._collect(future, *self.running.pop(future))
                    interrupts.check()
            finally:
                self.keep_open.close()
                self.positions.close()
                for process in (*self.idle, *(process for _, process in self.running.values())):
                    process.shutdown()

    def _start_jobs(self) -> bool:
        """Give every idle process a job; returns whether one was started."""
        started = False
        while self.idle and (job := self.schedule.next(longest_first=True)) is not None:
            process = self.idle.pop()
            self.started(job)
            self.positions.follow(process.positions, job)
            with no_interrupts_for_children():  # the pool starts its process now
                future = process.pool.submit(_in_process, job)
            self.running[future] = job, process
            started = True
        return started

    def _collect(self, future: Future[Outcome], job: Job, process: Process) -> None:
        """Take the outcome of a job; its process is idle now, or a new one takes the place of a dead one."""
        self.positions.forget(process.positions)
        try:
            status, warnings = future.result()
        except BrokenProcessPool:
            process = self._process()
            self.died(job, "killed, or out of memory")
        except Died as error:
            self.died(job, str(error))
        except Exception as error:
            self.raised(job, error)
        else:
            self.worker.store.warnings += warnings
            self.succeed(job, status)
        self.idle.append(process)

    def _process(self) -> Process:
        worker = self.worker
        same = (worker.store.folder, worker.base, worker.device.type, worker.timeout, worker.digests)
        receiver, sender = self.context.Pipe(duplex=False)  # one for each: a killed process can block no other
        pool = ProcessPoolExecutor(1, self.context, _begin, (same, self.alive, sender))
        return Process(pool, receiver)


_worker: Worker | None = None  # of this process, if it was started by Processes
_positions: Connection | None = None  # where this process says how far its job is


def _begin(same: Same, alive: Connection, positions: Connection) -> None:
    """Set up a process of one thread that does not outlive the run that started it."""
    global _worker, _positions
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel, alive), daemon=True).start()
    _worker, _positions = Worker(*same), positions


def _die_with(*ends: int | Connection) -> None:
    wait_for(ends)
    os._exit(1)


def _in_process(job: Job) -> Outcome:
    if _worker is None or _positions is None:
        raise RuntimeError("a worker process was not started")
    _worker.tell = teller(_positions, job)
    status = carry_out(job, _worker)
    warnings, _worker.store.warnings = _worker.store.warnings, []
    return status, warnings
