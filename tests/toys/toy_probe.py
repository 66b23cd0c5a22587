"""An attack whose eyes are a function that the test sets: it does with the view what the test wants to see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import ClassVar

import torch
from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View


@dataclass(frozen=True)
class ToyProbe(Attack):
    """Without a guess of its own it answers with the middle of the range, zeros or a coin."""

    _look: ClassVar[Callable[[View], Tensor | None]]

    goal: Goal = Goal.INPUTS
    wants: str = ""  # "SMASHED|STEPS"

    @property
    def needs(self) -> Grant:
        return reduce(or_, (Grant[name] for name in self.wants.split("|") if name), Grant(0))

    def run(self, view: View) -> Tensor:
        guess = type(self)._look(view)
        if guess is not None:
            return guess
        if self.goal is Goal.INPUTS:
            return torch.full((view.targets, *view.in_shape), sum(view.in_range) / 2)
        return torch.zeros(view.targets, view.classes) if self.goal is Goal.LABELS else torch.zeros(view.targets)
