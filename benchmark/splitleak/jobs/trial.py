"""Trains every network under every defence for a moment: finds what fails, and measures the time of a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from statistics import median

import torch

from splitleak.contract import Data, Grant
from splitleak.contract.errors import BadInput, Diverged
from splitleak.jobs import check
from splitleak.jobs.worker import Worker
from splitleak.plan.cell import Cell
from splitleak.plan.seeds import Stream
from splitleak.plan.settings import Train
from splitleak.train.fit import training_of
from splitleak.train.party import Party, relabelled
from splitleak.train.step import make_optimizer, whole_step
from splitleak.train.victim import Victim

MOMENT = 0.25  # seconds of timed steps for one network and defence; at least one step
BUDGET = 30.0  # seconds of all steps, after which no other network is tried
VALUES, FEWEST = 2**18, 4  # values in a batch: of larger records a trial takes fewer, but so many records in any case


@dataclass(frozen=True)
class Trial:
    """A network under a defence. seconds: of one training step, None where none was timed."""

    cell: Cell
    records: int  # private ones
    tried: bool
    seconds: float | None


def try_out(cells: Sequence[Cell], worker: Worker) -> list[Trial]:
    """Run `check.verify`, then training steps of each network under each defence, for BUDGET seconds in all."""
    trials, left = [], BUDGET
    for same in check.by_dataset(cells):
        data = worker.data(worker.case(same[0]))
        check.verify_dataset(same, data, worker)
        for cell in check.one_each(same, *check.KIND):
            start, tried = time.perf_counter(), left > 0
            seconds = _seconds_of_a_step(cell, data, worker) if tried else None
            trials.append(Trial(cell, len(data.private), tried, seconds))
            left -= time.perf_counter() - start
    return trials


def _seconds_of_a_step(cell: Cell, data: Data, worker: Worker) -> float | None:
    """Seconds of a step with a batch as large as in training; a trial with fewer records is scaled up."""
    size = cell.train.batch_size
    fewer = min(size, max(FEWEST, VALUES // prod(data.in_shape)))
    smaller = replace(cell, train=replace(cell.train, batch_size=fewer))
    seconds = _tried(smaller, check.built(smaller, data, worker))
    return None if seconds is None else seconds * size / fewer


def _tried(cell: Cell, made: Victim) -> float | None:
    """Train for a moment; None where the first step ends the training: it diverges, or the defence stops it."""
    what = f"defense '{cell.defense['name']}' on {check.who(cell)}"
    try:
        with Stream(cell.seeds.of("check")):
            _check_smash(made, what)
            return _timed(training_steps(cell, made), _clock(made))
    except Diverged:
        return None
    except (BadInput, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise BadInput(f"{what}: a training step fails: {check.in_words(error)}") from error


def _timed(steps: Iterator[None], clock: Callable[[], float]) -> float | None:
    """Median seconds from one yield to the next, over a MOMENT; the first step is a warm-up."""
    next(steps, None)
    times: list[float] = []
    while sum(times) < MOMENT:
        start = clock()
        if next(steps, "ended") == "ended":
            return None
        times.append(clock() - start)
    return median(times)


def _clock(made: Victim) -> Callable[[], float]:
    """On a CPU the time of the processor, which other programs do not lengthen; on a GPU the time that passes."""
    return time.process_time if made.data.private.x.device.type == "cpu" else time.perf_counter


def _check_smash(made: Victim, what: str) -> None:
    if not made.cut:
        return
    x = made.data.private.x[: made.recipe.train.batch_size]
    with torch.no_grad():
        z = made.split.bottom(x)[0]
        check.check_tensor(made.live.smash(z), tuple(z.shape), f"{what}: what smash returns")


def training_steps(cell: Cell, made: Victim) -> Iterator[None]:
    """Train a victim endlessly and yield in each step; a network that is never cut trains as one client would."""
    if made.cut:
        for _ in training_of(made).steps(Grant(0), set(), endless=True):
            yield
        return
    settings = local_settings(cell)
    private = relabelled(made.data.private, made.live) if cell.traffic.updates else made.data.private
    party = Party(0, made.split, private, settings, cell.seeds.order)
    optimizer = make_optimizer(settings)(made.split.train().parameters())
    while True:
        for x, y in party.batches():
            batch = made.live.batch(x, y) if cell.traffic.updates else (x, y)
            whole_step(made.split, made.data.task, optimizer, batch, "in a trial")
            yield


def local_settings(cell: Cell) -> Train:
    """`[train]` as a client uses it: `fedavg` may set its own batch size, optimiser and rate."""
    if cell.federated is None:
        return cell.train
    own = {name: getattr(cell.federated, name) for name in ("batch_size", "optimizer", "lr")}
    return replace(cell.train, **{name: value for name, value in own.items() if value is not None})
