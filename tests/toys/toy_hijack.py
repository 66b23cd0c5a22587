"""Sends the client gradients of its own for as many steps as it likes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View


@dataclass(frozen=True)
class ToyHijack(Attack):
    """Pulls the smashed data towards one; past the last epoch if it wants to."""

    needs = Grant.SMASHED | Grant.STEPS | Grant.TAMPER
    goal: Goal = Goal.INPUTS
    steps: int = 5

    def run(self, view: View) -> Tensor:
        for number, step in enumerate(view.steps, start=1):
            step.reply(step.smashed - 1)
            if number == self.steps:
                break
        return view.smashed.clamp(*view.in_range)
