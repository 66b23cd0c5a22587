"""The floor: the best guess without the channel. Advantage 0 is its score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from splitleak.contract import Goal, Grant, Records, Task
from splitleak.pieces import blind_guess
from splitleak.pieces.matching import matched_labels, matched_records
from splitleak.score.per_target import hit, iou

CLEARLY = 1e-9  # a later candidate must be better by this share, and not by rounding


@dataclass(frozen=True)
class Floor:
    """The best guess without the channel, from auxiliary records of the same population."""

    guess: Tensor  # (N, ...) in the form of the goal's guess
    kind: str


def floor_of(
    goal: Goal, task: Task, aux: Records, targets: Records, grants: Grant, sets: Tensor | None = None
) -> Floor:
    """Of all guesses without the channel the one that fits the targets best: with hindsight, which no attacker has.

    A class may look different in other patients: a floor that some guess without a channel beats is no floor.
    sets: (N,) the update of each target, where a guess is a set.
    """
    if goal not in (Goal.INPUTS, Goal.LABELS):
        return Floor(torch.zeros(len(targets), dtype=torch.double), "coin")
    inputs = goal is Goal.INPUTS
    candidates = _records(task, aux, targets, grants, sets) if inputs else _labels(task, aux, targets, grants, sets)
    best = next(candidates)
    best_loss = _loss(goal, task, best.guess, targets)
    for other in candidates:
        loss = _loss(goal, task, other.guess, targets)
        if loss < best_loss * (1 - CLEARLY):
            best, best_loss = other, loss
    return best


def _records(task: Task, aux: Records, targets: Records, grants: Grant, sets: Tensor | None) -> Iterator[Floor]:
    x, y, n = aux.x.cpu().double(), aux.y.cpu(), len(targets)
    yield Floor(x.mean(0).expand(n, *x.shape[1:]), "mean record")
    if task.kind == "classes" and Grant.LABELS in grants:
        yield Floor(blind_guess.class_means(x, y, targets.y.cpu(), task.size), "class mean")
    if sets is not None:
        truth = targets.x.cpu().double()
        for kind, guess in blind_guess.for_sets(x, sets):
            yield Floor(matched_records(guess, truth, sets), kind)


def _labels(task: Task, aux: Records, targets: Records, grants: Grant, sets: Tensor | None) -> Iterator[Floor]:
    y, n, classes = aux.y.cpu(), len(targets), task.kind == "classes"
    constant = task.constant(y)
    if classes:
        constant = torch.eye(task.size, dtype=torch.double)[constant]
    yield Floor(constant.expand(n, *constant.shape), "constant")
    if classes:
        yield Floor(torch.zeros(n, task.size, dtype=torch.double), "any class")
    if classes and sets is not None:
        mix = blind_guess.class_mix(y, sets, task.size)
        yield Floor(matched_labels(mix, targets.y.cpu(), sets), "class mix")
    if (Grant.INPUTS | Grant.AUX_LABELS) in grants:
        yield Floor(blind_guess.labels_of_nearest(targets.x, aux.x, y, task), "label of the nearest")


def _loss(goal: Goal, task: Task, guess: Tensor, targets: Records) -> float:
    """Mean squared error, or the share of labels or of overlap that is missed."""
    if goal is Goal.INPUTS:
        return float((guess - targets.x.cpu().double()).square().mean())
    y = targets.y.cpu()
    if task.kind == "classes":
        return 1 - float(hit(guess, y).mean())
    if task.kind == "mask":
        return 1 - float(iou(guess > 0.5, y > 0.5).mean())
    return float((guess - y.double()).square().mean())
