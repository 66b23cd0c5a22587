"""Reaches past the view for the truth itself: what a null twin is there to catch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View


@dataclass(frozen=True)
class ToyCheat(Attack):
    """Walks into the view's private parts, which Python cannot forbid."""

    needs = Grant.SMASHED
    goal: Goal = Goal.INPUTS

    def run(self, view: View) -> Tensor:
        if self.goal is Goal.INPUTS:
            return view._sources["inputs"]()
        y = view._sources["labels"]()
        return torch.nn.functional.one_hot(y, view.classes) if view.task.kind == "classes" else y
