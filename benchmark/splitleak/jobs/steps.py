"""The training steps of a matrix's victims: which are trained, how many steps each takes, and how long one lasts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import ceil
from statistics import mean

from splitleak.jobs.check import KIND, one_each
from splitleak.jobs.trial import Trial, local_settings
from splitleak.plan.cell import VICTIM, Cell

NEAR = ("dataset", "model")  # networks with these in common take about the same time


class Steps:
    """The training steps of victims: how many, and how long one takes."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials = {_fields(trial.cell, KIND): trial for trial in trials}
        self._times: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for trial in trials:
            for names in ((), NEAR, KIND):
                if trial.seconds is not None:
                    self._times[_fields(trial.cell, names)].append(trial.seconds)

    def seconds(self, cell: Cell) -> float:
        """Seconds of one step. If none was timed: of this network with other defences, else of all networks."""
        return next((mean(self._times[key]) for n in (KIND, NEAR, ()) if (key := _fields(cell, n)) in self._times), 0.0)

    def of_training(self, cell: Cell) -> int:
        """Steps of a whole training, with the records divided evenly."""
        n, settings = cell.clients.n, local_settings(cell)
        batches = ceil(self._trials[_fields(cell, KIND)].records / n / settings.batch_size)
        if cell.federated is None:
            return n * batches * settings.epochs
        one = cell.federated.local_steps or cell.federated.local_epochs * batches
        return max(1, int(n * cell.federated.fraction)) * one * cell.federated.rounds


def _fields(cell: Cell, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(repr(getattr(cell, name)) for name in names)


def trained(cells: Sequence[Cell]) -> list[Cell]:
    """One cell for each training: an undefended split with one client is trained once for all its cuts."""
    shared = [c for c in cells if c.defense["name"] == "none" and c.clients.n == 1 and c.cut is not None]
    alone = {id(cell) for cell in shared}
    fields = [name for name in VICTIM if name != "train"]
    return [
        *one_each(shared, *(name for name in fields if name != "cut")),
        *one_each([cell for cell in cells if id(cell) not in alone], *fields),
    ]
