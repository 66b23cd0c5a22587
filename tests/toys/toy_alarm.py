"""The client counts the gradients that it gets and calls the next one a hijack."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from splitleak.contract import Defense, Detected, Hooks, Split


class Live(Hooks):
    """Live: it counts."""

    def __init__(self, after: int) -> None:
        self.left = after

    def inspect(self, g: Tensor, y: Tensor) -> None:
        if not self.left:
            raise Detected("enough")
        self.left -= 1


@dataclass(frozen=True)
class ToyAlarm(Defense):
    """Detected at the gradient after so many."""

    after: int = 3

    def begin(self, split: Split, seed: int) -> Hooks:
        return Live(self.after)
