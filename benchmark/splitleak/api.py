"""The Python interface: what the command line does, as two functions."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from splitleak.contract.errors import BadInput
from splitleak.jobs import check
from splitleak.jobs.executors import Processes, Serial
from splitleak.jobs.schedule import Job, Schedule
from splitleak.jobs.worker import Worker
from splitleak.plan import matrix as matrices
from splitleak.plan.axes import AXES
from splitleak.plan.cell import Cell
from splitleak.plan.matrix import Matrix
from splitleak.report.table import Record
from splitleak.report.table import leaderboard as leaderboard
from splitleak.store import alone_in

Say = Callable[[str], None]


def run(
    matrix: str | Path | dict[str, Any],
    out: str | Path | None = None,
    *,
    workers: int = 1,
    device: str = "auto",
    only: Sequence[str] = (),
    data: str = "auto",
    progress: bool = False,
    say: Say = lambda line: None,
) -> list[Record]:
    """Run a matrix (a path, the name of one that ships, or a dict) and return the records of its cells.

    out: the folder of records and victims, `runs/<name of the matrix>` by default. only: "defense=none" and the
    like keep the cells whose axis starts with that. data: what a dataset with `otherwise` becomes: "auto" the real one
    if its files are on this machine, "real" always the real one, "synthetic" always the other. A run that was
    interrupted goes on where it stopped.
    """
    whole = select(matrices.read(matrix, data=data), only)
    for note in whole.notes:
        say(note)
    folder = (
        Path(out) if out is not None else Path("runs") / ("matrix" if isinstance(matrix, dict) else Path(matrix).stem)
    )
    if workers < 1:
        raise BadInput(f"--workers must be at least 1, not {workers}")
    worker = Worker(folder, whole.base, pick_device(device))
    with alone_in(folder):
        schedule = Schedule.of(whole.cells, worker)
        check.verify(schedule.cells, worker)
        _carry_out(schedule, worker, workers, progress)
        for warning in worker.store.warnings:
            say(warning)
        records = [worker.store.record(cell.key) for cell in whole.cells]
    return [record for record in records if record is not None]


def _carry_out(schedule: Schedule, worker: Worker, workers: int, progress: bool) -> None:
    from tqdm import tqdm

    if not schedule.jobs:
        return
    with tqdm(total=schedule.jobs, disable=not progress, unit="job", smoothing=0) as bar:
        observer = _Bar(bar)
        serial = workers == 1
        executor = Serial(schedule, worker, observer) if serial else Processes(schedule, worker, observer, workers)
        executor.run()


class _Bar:
    """Counts the jobs that have ended."""

    def __init__(self, bar: Any) -> None:
        self.bar, self.counts = bar, dict[str, int]()

    def started(self, job: Job) -> None:
        """Nothing is shown yet."""

    def ended(self, job: Job, status: str) -> None:
        self.counts[status] = self.counts.get(status, 0) + 1
        self.bar.set_postfix_str(", ".join(f"{n} {what}" for what, n in self.counts.items()), refresh=False)
        self.bar.update()


def select(matrix: Matrix, only: Sequence[str]) -> Matrix:
    """Keep the cells that match every AXIS=VALUE; a value names a plug-in, or stands as it prints."""
    cells = matrix.cells
    for condition in only:
        axis, equals, value = condition.partition("=")
        if not equals or axis not in AXES:
            raise BadInput(f"--only '{condition}': write AXIS=VALUE (axes: {', '.join(AXES)})")
        kept = [cell for cell in cells if value in _names(cell, axis)]
        if not kept:
            there = sorted({_names(cell, axis)[0] for cell in cells})
            raise BadInput(f"--only '{condition}': no such cell ({axis}: {', '.join(there)})")
        cells = kept
    return Matrix(cells, matrix.base, matrix.notes)


def _names(cell: Cell, axis: str) -> list[str]:
    value = getattr(cell, axis)
    return [str(value["name"])] if isinstance(value, dict) else [str(value)]


def pick_device(device: str) -> str:
    if device not in ("auto", "cpu", "cuda"):
        raise BadInput(f"--device must be auto, cpu or cuda, not '{device}'")
    here = torch.cuda.is_available()
    if device == "cuda" and not here:
        raise BadInput("--device cuda: torch finds no CUDA device here (legal: auto, cpu)")
    return "cuda" if here and device != "cpu" else "cpu"


def cores() -> int:
    """Processes to start when nobody says how many: one for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
