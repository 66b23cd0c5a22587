"""Reads the answer off the smashed data of a client that changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View


@dataclass(frozen=True)
class ToyReadOff(Attack):
    """Knows how the toy datasets hide their labels, their property and their members."""

    needs = Grant.SMASHED
    goal: Goal = Goal.INPUTS

    def run(self, view: View) -> Tensor:
        z = view.smashed
        if self.goal is Goal.INPUTS:
            return z.clamp(*view.in_range)
        if self.goal is Goal.LABELS:
            return z.clamp(0, 1) if view.task.kind == "mask" else z[:, : view.classes]
        if self.goal is Goal.MEMBERSHIP:
            return z[:, 3]
        return z[:, -1] if z.dim() == 2 else -z.flatten(1).mean(1)
