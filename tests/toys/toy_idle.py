"""Defences that change nothing: one of its own class, and one whose live form has weights that no optimiser has."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from splitleak.contract import Defense, Hooks, Split


class Live(nn.Module, Hooks):
    """A decoder that nobody trains, and no hook."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.decoder = nn.Linear(wide, wide)


@dataclass(frozen=True)
class ToyIdle(Defense):
    """`small` is what each message is multiplied by: at 1 nothing happens."""

    protocols = ("vanilla", "fedavg")
    live: bool = False
    small: float = 1.0

    def shape(self, split: Split) -> Split:
        if self.live:
            split.bottom.add_module("more", nn.Identity())
        return split

    def begin(self, split: Split, seed: int) -> Hooks:
        return Live(4) if self.live else self

    def smash(self, z: Tensor) -> Tensor:
        return self.small * z
