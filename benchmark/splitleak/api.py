"""The Python interface: `run` and `leaderboard` do what the commands of the same name do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

import torch

from splitleak import apart
from splitleak.contract.errors import BadInput
from splitleak.jobs import check
from splitleak.jobs.executors import Serial
from splitleak.jobs.processes import Processes
from splitleak.jobs.schedule import Schedule
from splitleak.jobs.worker import Worker
from splitleak.main_guard import need_main_guard
from splitleak.only import select
from splitleak.plan import matrix as matrices
from splitleak.plan.matrix import Matrix
from splitleak.printable import shown
from splitleak.process_settings import STANDARD, unchanged
from splitleak.records import Record
from splitleak.report.progress import JobProgress, Notes
from splitleak.report.table import leaderboard as leaderboard
from splitleak.store import alone_in


class Limits(TypedDict, total=False):
    """More options of `run`."""

    timeout: float | None
    progress: bool


def run(
    matrix: str | Path | dict[str, Any],
    out: str | Path | None = None,
    *,
    workers: int = 1,
    device: str = "auto",
    only: Sequence[str] = (),
    data: str = "auto",
    **limits: Unpack[Limits],
) -> list[Record]:
    """Run a matrix (a path, the name of one that ships, or a dict) and return the records of its cells.

    out: the folder of records and victims, `runs/<name of the matrix>` by default. workers: processes of one thread
    each; with several, a script must call this under `if __name__ == "__main__":`. device: auto, cpu or cuda.
    only: keep the cells of these values, such as "defense=laplace_range(epsilon=5)", "defense=laplace_range" or
    "seed=0"; conditions on several axes must all hold. data: what a dataset with `otherwise` becomes: "auto" the real
    one if its files are on this machine, "real" always the real one, "synthetic" always the other. timeout: the
    seconds that one job may take, the training of a victim or a cell (its attack, the null run and the scoring); one
    that takes longer has failed. progress: show a bar and notes on standard error. A run that was interrupted goes on
    where it stopped. Raises BadInput for a mistake of the user.
    """
    if unknown := limits.keys() - Limits.__annotations__.keys():
        raise TypeError(f"run() has no option {', '.join(sorted(unknown))}")
    whole = select(matrices.read(matrix, data=data), only)
    folder = (
        Path(out) if out is not None else Path("runs") / ("matrix" if isinstance(matrix, dict) else Path(matrix).stem)
    )
    return run_cells(whole, folder, workers, device, limits)


def run_cells(whole: Matrix, folder: Path, workers: int, device: str, limits: Limits) -> list[Record]:
    """Run the cells of a matrix that was read and return their records."""
    timeout, progress = limits.get("timeout"), limits.get("progress", False)
    notes = Notes(progress)
    notes.show(whole.notes)
    if type(workers) is not int or workers < 1:
        raise BadInput(f"--workers must be a whole number from 1, not {shown(workers)}")
    need_main_guard(workers)
    worker = Worker(folder, whole.base, pick_device(device), timeout)
    _check_timeout(worker)
    with alone_in(folder), unchanged(STANDARD):
        cells = check.fitted(whole.cells, worker)
        schedule = Schedule.of(cells, worker)
        check.verify(schedule.cells, worker)
        _carry_out(schedule, worker, workers, progress)
        records = [worker.store.record(cell.key) for cell in cells]
        notes.show(worker.store.warnings)
    return [cast(Record, record) for record in records if record is not None]


def _carry_out(schedule: Schedule, worker: Worker, workers: int, progress: bool) -> None:
    if not schedule.jobs:
        return
    if worker.timeout is not None:
        Notes(progress).show([f"a job that takes longer than {worker.timeout:g} seconds fails (--timeout)"])
    with JobProgress(schedule.jobs, worker.base, progress) as bar:
        executor = Serial(schedule, worker, bar) if workers == 1 else Processes(schedule, worker, bar, workers)
        executor.run()


def _check_timeout(worker: Worker) -> None:
    if worker.timeout is None:
        return
    if not 0 < worker.timeout < float("inf"):
        raise BadInput(f"--timeout must be a number of seconds above 0, not {worker.timeout}")
    if worker.device.type != "cpu" or not apart.possible():
        raise BadInput("--timeout needs Linux and --device cpu: elsewhere a job has no process of its own to be ended")


def pick_device(device: str) -> str:
    if device not in ("auto", "cpu", "cuda"):
        raise BadInput(f"--device must be auto, cpu or cuda, not {shown(device)}")
    here = torch.cuda.is_available()
    if device == "cuda" and not here:
        raise BadInput("--device cuda: torch finds no CUDA device here (legal: auto, cpu)")
    return "cuda" if here and device != "cpu" else "cpu"


def cores() -> int:
    """The default number of processes: one for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
