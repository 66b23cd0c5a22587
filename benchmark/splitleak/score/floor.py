"""The floor: the best guess without the channel. Advantage 0 is its score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitleak.contract import Records, Task


@dataclass(frozen=True)
class Floor:
    """The best guess without the channel, from auxiliary records of the same population."""

    inputs: Tensor  # (N, *in): the mean record, or the mean of the target's class if the attacker has the labels
    label: int | Tensor  # majority class, constant mask or mean value
    kind: str


def floor_of(aux: Records, targets: Records, task: Task, knows_labels: bool) -> Floor:
    """The mean auxiliary record or the class mean, and the majority class, constant mask or mean value.

    If the attacker has the labels, the floor is the mean that is nearer to the targets: a class may look different in
    other patients, and a floor that some guess without a channel beats is no floor.
    """
    x, y = aux.x.cpu().double(), aux.y.cpu()
    if task.kind != "classes":
        guess = x.mean(0).expand(len(targets), *x.shape[1:])
        return Floor(guess, task.constant(y), "mean record")
    majority = int(task.constant(y))
    whole = x.mean(0).expand(len(targets), *x.shape[1:])
    if not knows_labels:
        return Floor(whole, majority, "mean record")
    means = torch.stack([x[y == k].mean(0) if (y == k).any() else x.mean(0) for k in range(task.size)])
    of_class, truth = means[targets.y.cpu()], targets.x.cpu().double()
    if (truth - whole).square().mean() < (truth - of_class).square().mean():
        return Floor(whole, majority, "mean record")
    return Floor(of_class, majority, "class mean")
