"""A matrix carried out: victims first, attacks as their victims finish, on processes of one thread each.

A record present is a cell done, so a run that was killed anywhere is simply run again.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path

import torch

from splitleak.contract.errors import BadInput
from splitleak.jobs.worker import Worker, failure
from splitleak.plan.cell import Cell
from splitleak.plan.matrix import Matrix
from splitleak.store import Store

FINAL = ("done", "skipped", "diverged")
TRIES = 2  # a job that kills its worker twice is a failed one
Tell = Callable[[str, str], None]  # (what, status) of a job that has ended
Told = tuple[str, list[str]]  # a job's status, and warnings of damaged files


@dataclass
class Plan:
    """What is still to do: cells by the victim that they wait for."""

    waiting: dict[str, list[Cell]] = field(default_factory=dict)  # victim key -> cells, victim missing
    ready: list[Cell] = field(default_factory=list)
    victims: dict[str, Cell] = field(default_factory=dict)  # one cell that stands for each missing victim
    finished: int = 0

    @property
    def jobs(self) -> int:
        return len(self.victims) + len(self.ready) + sum(map(len, self.waiting.values()))


def plan(matrix: Matrix, worker: Worker) -> Plan:
    """Sort a matrix's cells: recorded, skipped (recorded now), ready, or waiting for a victim."""
    todo, kept = Plan(), dict[str, bool]()
    for cell in matrix.cells:
        record = worker.store.record(cell.key)
        if record is not None and record["status"] in FINAL:
            todo.finished += 1
        elif cell.skip:
            worker.store.write_record(worker.blank(cell))
            todo.finished += 1
        else:
            key = cell.victim_key
            if key not in kept:
                kept[key] = worker.has_victim(cell)
            if kept[key]:
                todo.ready.append(cell)
            else:
                todo.victims.setdefault(key, cell)
                todo.waiting.setdefault(key, []).append(cell)
    return todo


def carry_out(todo: Plan, worker: Worker, workers: int, tell: Tell) -> None:
    """Do all that is planned; `tell` hears of every job that ends."""
    if not todo.jobs:
        return
    if workers == 1:
        _alone(todo, worker, tell)
    else:
        Pool(todo, worker, workers, tell).run()


def _alone(todo: Plan, worker: Worker, tell: Tell) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for cell in todo.ready:
            tell(cell.key, worker.run_cell(cell))
        for key, cells in todo.waiting.items():
            try:
                worker.make_victim(todo.victims[key])
            except BadInput:
                raise
            except Exception as error:
                _give_up(worker, cells, failure(error, "its victim failed: "), tell)
                continue
            tell(key, "victim")
            for cell in cells:
                tell(cell.key, worker.run_cell(cell))
    finally:
        torch.set_num_threads(threads)


def _give_up(worker: Worker, cells: Iterable[Cell], said: dict[str, str], tell: Tell) -> None:
    for cell in cells:
        worker.store.write_record(worker.blank(cell) | said)
        tell(cell.key, "failed")


class Pool:
    """Executors of one process each: a process that dies takes only its own job down, and that one is tried again."""

    def __init__(self, todo: Plan, worker: Worker, workers: int, tell: Tell) -> None:
        self.todo, self.worker, self.tell = todo, worker, tell
        self.context = multiprocessing.get_context("spawn")
        self.end, self.close = self.context.Pipe(duplex=False)  # closing it ends every process, busy or not
        self.idle = [self._executor() for _ in range(min(workers, todo.jobs))]
        self.running: dict[Future[Told], tuple[Job, ProcessPoolExecutor]] = {}
        self.deaths: dict[str, int] = {}
        self.queue: list[Job] = [Job("victim", cell) for cell in todo.victims.values()]
        self.queue += [Job("cell", cell) for cell in todo.ready]

    def run(self) -> None:
        """Keep every process busy; hijacks first, since they last longest, then victims, then the attacks on them."""
        try:
            while self.queue or self.running:
                self.queue.sort(key=lambda job: job.rank)
                while self.queue and self.idle:
                    job, executor = self.queue.pop(0), self.idle.pop()
                    self.running[executor.submit(_do, job)] = job, executor
                done, _ = wait(self.running, return_when=FIRST_COMPLETED)
                for future in done:
                    self._collect(future, *self.running.pop(future))
        finally:
            self.close.close()
            for executor in (*self.idle, *(executor for _, executor in self.running.values())):
                executor.shutdown(wait=False, cancel_futures=True)

    def _collect(self, future: Future[Told], job: Job, executor: ProcessPoolExecutor) -> None:
        """Tell what ended, and queue what can start now: the cells of a new victim, the job of a dead process."""
        try:
            status, warnings = future.result()
            self.worker.store.warnings += warnings
            self.tell(job.key, status)
        except BrokenProcessPool:
            executor = self._executor()
            self.deaths[job.key] = self.deaths.get(job.key, 0) + 1
            if self.deaths[job.key] < TRIES:
                self.queue.append(job)
            else:
                whose = "victim" if job.kind == "victim" else "attack"
                why = f"its {whose}'s process died {TRIES} times (killed, or out of memory)"
                self._lose(job, {"status": "failed", "why": why})
        except BadInput:  # the folder cannot be written: nothing that follows could be kept
            raise
        except Exception as error:
            if job.kind == "cell":
                raise
            self._lose(job, failure(error, "its victim failed: "))
        else:
            if job.kind == "victim":
                self.queue += [Job("cell", cell) for cell in self.todo.waiting[job.key]]
        self.idle.append(executor)

    def _lose(self, job: Job, said: dict[str, str]) -> None:
        lost = self.todo.waiting[job.key] if job.kind == "victim" else [job.cell]
        _give_up(self.worker, lost, said, self.tell)

    def _executor(self) -> ProcessPoolExecutor:
        folder, base, device = self.worker.store.folder, self.worker.base, self.worker.device.type
        return ProcessPoolExecutor(1, self.context, _start, (folder, base, device, self.end))


@dataclass(frozen=True)
class Job:
    """A victim to train or a cell to run."""

    kind: str
    cell: Cell

    @property
    def key(self) -> str:
        return self.cell.victim_key if self.kind == "victim" else self.cell.key

    @property
    def rank(self) -> int:
        return 1 if self.kind == "victim" else 0 if self.cell.tampers else 2


_worker: Worker | None = None


def _start(folder: Path, base: Path, device: str, end: Connection) -> None:
    """A process of one thread that does not outlive the run that started it."""
    global _worker
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run to answer
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel, end), daemon=True).start()
    _worker = Worker(folder, base, device)


def _die_with(*ends: int | Connection) -> None:
    wait_for(ends)
    os._exit(1)


def _do(job: Job) -> Told:
    if _worker is None:
        raise RuntimeError("a worker process was not started")
    status = "victim"
    if job.kind == "cell":
        status = _worker.run_cell(job.cell)
    else:
        _worker.make_victim(job.cell)
    warnings, _worker.store.warnings = _worker.store.warnings, []
    return status, warnings


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """One run at a time in a results folder; what a killed one left half-written is swept away."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise BadInput(f"--out '{folder}' cannot be written: {error.strerror or error}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BadInput(f"--out '{folder}': another run is using it") from None
        Store(folder).sweep()
        yield
