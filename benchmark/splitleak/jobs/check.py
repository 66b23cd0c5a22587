"""Checks before a run what would fail hours later, without training.

Every dataset is loaded and divided among the clients, the auxiliary datasets are loaded, every network is built under
every defence, and two records pass through it. What is wrong is one line of BadInput that names the plug-in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from splitleak.contract import Attack, Data, Task
from splitleak.contract.errors import BadInput
from splitleak.jobs.answers import answered
from splitleak.jobs.worker import Worker
from splitleak.loading import one_line
from splitleak.plan.cell import Cell
from splitleak.plan.seeds import Stream
from splitleak.score.targets import aux_of
from splitleak.train import shadows
from splitleak.train.division import divide
from splitleak.train.victim import Victim, fresh

NETWORK = ("dataset", "model", "cut", "protocol", "federated")
KIND = (*NETWORK, "defense")  # victims that differ in the seed, the clients or the attack alone are of one kind


def verify(cells: Sequence[Cell], worker: Worker) -> None:
    """BadInput for what cannot be loaded, divided, built or passed through a network; notes go to the store."""
    for same in by_dataset(cells):
        verify_dataset(same, worker.data(worker.case(same[0])), worker)


def fitted(cells: Sequence[Cell], worker: Worker) -> list[Cell]:
    """The cells whose goal has answers in the data, those skipped whose attack is not for the task of their victim."""
    cells = answered(cells, worker)
    legal: dict[str, tuple[str, ...]] = {}  # attack -> kinds of task that it is for
    kinds: dict[str, str] = {}  # dataset -> kind of its task; it is loaded only where an attack is not for all
    return [cell if cell.skip else replace(cell, skip=_misfit(cell, worker, legal, kinds)) for cell in cells]


def _misfit(cell: Cell, worker: Worker, legal: dict[str, tuple[str, ...]], kinds: dict[str, str]) -> str | None:
    attack, dataset = str(cell.attack), str(cell.dataset)
    if attack not in legal:
        legal[attack] = worker.case(cell).attack.tasks
    if legal[attack] == Attack.tasks:
        return None
    if dataset not in kinds:
        kinds[dataset] = worker.data(worker.case(cell)).task.kind
    if kinds[dataset] in legal[attack]:
        return None
    return f"not for a task of kind {kinds[dataset]} (legal: {', '.join(legal[attack])})"


def one_each(cells: Sequence[Cell], *names: str) -> list[Cell]:
    """The first of the cells that agree in these fields."""
    found: dict[tuple[str, ...], Cell] = {}
    for cell in cells:
        found.setdefault(tuple(repr(getattr(cell, name)) for name in names), cell)
    return list(found.values())


def by_dataset(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells with the same dataset together: a worker keeps one dataset in memory."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(str(cell.dataset), []).append(cell)
    return list(found.values())


def verify_dataset(cells: list[Cell], data: Data, worker: Worker) -> None:
    worker.store.warnings += [note for note in data.notes if note not in worker.store.warnings]
    for cell in one_each(cells, "clients"):
        divide(data.private, cell.clients, data.task, cell.seeds.order)
    for cell in one_each(cells, "attack"):
        shadows.check(cell, data)
    for cell in one_each(cells, "aux"):
        _check_aux(cell, data, worker)
    for cell in one_each(cells, *NETWORK):
        undefended = replace(cell, defense={"name": "none"})
        _check_network(undefended, built(undefended, data, worker))
    for cell in one_each(cells, *KIND):
        built(cell, data, worker)


def _check_aux(cell: Cell, data: Data, worker: Worker) -> None:
    """Load another dataset that the attacker has: its records must look like the victim's."""
    case = worker.case(cell)
    if case.aux_dataset is not None:
        aux_of(case, data, data.private.take(torch.arange(1, device=data.private.x.device)), worker.aux(case))


def built(cell: Cell, data: Data, worker: Worker) -> Victim:
    """An untrained victim; BadInput for whatever its model or its defence raises."""
    try:
        return fresh(worker.case(cell), data)
    except (BadInput, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise BadInput(f"{who(cell)}: records {data.in_shape} do not pass: {in_words(error)}") from error


def _check_network(cell: Cell, made: Victim) -> None:
    """Two records through the undefended network: the server holds a block, the prediction fits the task."""
    split, data = made.split, made.data
    x, y = data.private.x[:2], data.private.y[:2]
    if made.cut and isinstance(split.top, nn.Sequential) and not len(split.top):
        blocks = sum(len(part) for part in (split.bottom, split.head) if isinstance(part, nn.Sequential))
        raise BadInput(f"{who(cell)}: of {blocks} blocks none is left for the server; the cut must be lower")
    try:
        with torch.no_grad(), Stream(cell.seeds.of("check")):
            prediction = split.eval()(x)
            check_tensor(prediction, _prediction_shape(data.task, x, y), f"{who(cell)}: the prediction")
            data.task.loss(prediction, y)
    except (BadInput, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise BadInput(f"{who(cell)}: records {data.in_shape} do not pass: {in_words(error)}") from error


def _prediction_shape(task: Task, x: Tensor, y: Tensor) -> tuple[int, ...]:
    return (len(x), task.size) if task.kind == "classes" else tuple(y.shape)


def check_tensor(value: Any, shape: tuple[int, ...], what: str) -> None:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        found = str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
        raise BadInput(f"{what} is {found}, wanted a tensor {shape} of floats")
    if tuple(value.shape) != shape:
        raise BadInput(f"{what} has shape {tuple(value.shape)}, wanted {shape}")


def who(cell: Cell) -> str:
    """How a message names a network."""
    where = "" if cell.cut is None else f", cut {cell.cut}"
    return f"model '{cell.model['name']}'{where}, protocol '{cell.protocol}'"


def in_words(error: BaseException) -> str:
    """How a message names an exception."""
    return one_line(error)
