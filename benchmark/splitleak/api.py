"""The Python interface: `run` and `leaderboard` do what the commands of the same name do."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from splitleak.contract.errors import BadInput
from splitleak.jobs import pool as runner
from splitleak.jobs.worker import Worker
from splitleak.main_guard import need_main_guard
from splitleak.only import select
from splitleak.plan import matrix as matrices
from splitleak.plan.cell import Cell
from splitleak.plan.seeds import order_seed
from splitleak.records import Record
from splitleak.report.progress import Progress, job_labels
from splitleak.report.table import leaderboard as leaderboard
from splitleak.train import victim
from splitleak.train.division import divide

Say = Callable[[str], None]


def run(
    matrix: str | Path | dict[str, Any],
    out: str | Path | None = None,
    *,
    workers: int = 1,
    device: str = "auto",
    only: Sequence[str] = (),
    progress: bool = False,
    say: Say = lambda line: None,
) -> list[Record]:
    """Run a matrix (a path, the name of one that ships, or a dict) and return the records of its cells.

    out: the folder of records and victims, `runs/<name of the matrix>` by default. workers: processes of one thread
    each; with several, a script must call this under `if __name__ == "__main__":`. device: auto, cpu or cuda.
    only: keep the cells of these values, such as "defense=laplace_range(epsilon=5)", "defense=laplace_range" or
    "seed=0"; conditions on several axes must all hold. progress: show a bar on standard error. say: gets warnings.
    A run that was interrupted goes on where it stopped. Raises BadInput for a mistake of the user.
    """
    whole = select(matrices.read(matrix), only)
    for note in whole.notes:
        say(note)
    folder = (
        Path(out) if out is not None else Path("runs") / ("matrix" if isinstance(matrix, dict) else Path(matrix).stem)
    )
    if workers < 1:
        raise BadInput(f"--workers must be at least 1, not {workers}")
    need_main_guard(workers)
    worker = Worker(folder, whole.base, pick_device(device))
    with runner.alone_in(folder):
        todo = runner.plan(whole, worker)
        cells = [cell for waiting in todo.waiting.values() for cell in waiting] + todo.ready
        verify(cells, worker)
        _do(todo, worker, workers, progress)
        for warning in worker.store.warnings:
            say(warning)
        records = [worker.store.record(cell.key) for cell in whole.cells]
    return [cast(Record, record) for record in records if record is not None]


def _do(todo: runner.Plan, worker: Worker, workers: int, progress: bool) -> None:
    labels = job_labels(todo.ready, todo.waiting, worker.base)
    with Progress(todo.jobs, progress) as bar:
        waiting = list(labels) if workers == 1 else []  # one worker takes the jobs in this order

        def tell(key: str, status: str) -> None:
            while waiting and (ended := waiting.pop(0)) != key:
                bar.ended(labels[ended], "failed")  # a victim: its attacks end without it
            bar.ended(labels[key], status)
            if waiting:
                bar.started(labels[waiting[0]])

        if waiting:
            bar.started(labels[waiting[0]])
        runner.carry_out(todo, worker, workers, tell)


def verify(cells: Sequence[Cell], worker: Worker) -> None:
    """Load and divide every dataset and build every network once: a mistake is told before hours are spent."""
    for cell in {str(c.dataset): c for c in cells}.values():
        data = worker.data(cell)
        worker.store.warnings += [note for note in data.notes if note not in worker.store.warnings]
        for one in {str(c.clients): c for c in cells if c.dataset == cell.dataset}.values():
            divide(data.private, one.clients, data.task, order_seed(one))
        for one in {(str(c.model), c.cut, c.protocol): c for c in cells if c.dataset == cell.dataset}.values():
            try:
                victim.fresh(one, data, worker.base).split.shapes(data.in_shape)
            except BadInput:
                raise
            except Exception as error:  # the network of an outside plug-in that does not take these records
                who = f"model '{one.model['name']}', cut {one.cut}, protocol '{one.protocol}'"
                raise BadInput(f"{who}: records {data.in_shape} do not pass: {error}") from error


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
