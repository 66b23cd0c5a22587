"""Goals whose answers only some datasets have: a property that is named, and the person of each record.

What a matrix asks for and its dataset does not have is BadInput before anything is trained. What only a suite brings
along is left out, and a line says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import get_args, get_type_hints

from splitleak.contract import Data, Dataset, Goal
from splitleak.contract.errors import BadInput
from splitleak.jobs.worker import Worker
from splitleak.plan.cell import Cell

ASKING = (Goal.PROPERTY.value, Goal.LINKAGE.value)


def answered(cells: Sequence[Cell], worker: Worker) -> list[Cell]:
    """The cells whose goal has answers; BadInput where one lacks them that is not optional."""
    found: dict[tuple[str, str], str | None] = {}
    kept = []
    for cell in cells:
        lack = None
        if cell.goal in ASKING and not cell.skip:
            place = (str(cell.dataset), cell.goal)
            if place not in found:
                case = worker.case(cell)
                found[place] = lack_of(Goal(cell.goal), worker.data(case), case.dataset)
            lack = found[place]
        if lack and not cell.optional:
            raise BadInput(lack)
        if not lack:
            kept.append(cell)
        elif (note := f"goal {cell.goal} left out: {lack}") not in worker.store.warnings:
            worker.store.warnings.append(note)
    return kept


def lack_of(goal: Goal, data: Data, dataset: Dataset) -> str | None:
    """What the private records lack for a goal, in a line that says what is legal; None where nothing is missing."""
    answers, people = data.private.property, data.private.group
    if goal is Goal.PROPERTY:
        if answers is None:
            return f"dataset '{dataset}' names no property ({_legal(dataset)})"
        if len(answers.unique()) < 2:
            return f"dataset '{dataset}': all private records have the same property (legal: some 0 and some 1)"
        return None
    if people is None:
        return f"dataset '{dataset}' does not tell whose a record is (legal: a dataset with people, such as ecg)"
    counts = people.unique(return_counts=True)[1]
    if len(counts) < 2 or int(counts.max()) < 2:
        have = f"{len(people)} private records of {len(counts)} people"
        return f"dataset '{dataset}' has {have} (legal: two people or more, of one of them two records)"
    return None


def _legal(dataset: Dataset) -> str:
    """The values of its parameter `property`, or the datasets that have one."""
    if "property" not in {field.name for field in fields(dataset)}:  # type: ignore[arg-type]
        return "legal: cxr_lung, ecg and ecg_synthetic with property, npz with an array property"
    hint = get_type_hints(type(dataset))["property"]
    values = [value for part in get_args(hint) for value in get_args(part)]
    return "legal: property = " + " or ".join(f'"{value}"' for value in values)
