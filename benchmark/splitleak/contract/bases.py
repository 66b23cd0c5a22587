"""The base classes of attacks, models and datasets; a defence has `defense.py`.

Letters in shapes: B batch, N targets, M auxiliary records, K classes; `*in` one record, `*cut` one activation,
`*out` what the server sends back in a u-shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from splitleak.contract.nouns import Data, Goal, Grant, Protocol, Shape, Task
from splitleak.contract.plugin import Plugin
from splitleak.contract.split import Bottom, Head, Split
from splitleak.contract.view import View


class Dataset(Plugin, ABC):
    """Where records come from and how they are divided."""

    @abstractmethod
    def load(self) -> Data:
        """Read, check and divide; BadInput names the file and what is wrong with it."""

    def locate(self) -> None:
        """Raise NotAtHand where the files are missing. Override it where that can be told without reading them."""
        self.load()


class Model(Plugin, ABC):
    """An architecture as blocks in a row that can be cut after any of them; the cut k keeps k at the client.

    A network that is no plain row (a U-Net's skips) overrides `split` and returns its own parts.
    """

    u_shaped: bool = False  # u_shape is its natural protocol

    @abstractmethod
    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        """The whole network in order; the last block is what a u-shaped client keeps as its head."""

    @abstractmethod
    def cuts(self, protocol: Protocol) -> list[int]:
        """Every legal cut under a protocol; the model's own comes first."""

    def split(self, in_shape: Shape, task: Task, cut: int, protocol: Protocol) -> Split:
        """Cut the network; the same weights whatever the cut, if the random state is the same."""
        blocks = self.blocks(in_shape, task)
        last = len(blocks) - 1 if protocol == "u_shape" else len(blocks)
        head = Head(*blocks[last:]) if protocol == "u_shape" else None
        return Split(Bottom(*blocks[:cut]), nn.Sequential(*blocks[cut:last]), head)


class Attack(Plugin, ABC):
    """An adversary. It gets a View, never the truth, and returns a guess; the harness checks and scores it."""

    goal: Goal
    needs: Grant

    @abstractmethod
    def run(self, view: View) -> Tensor:
        """The guess, of the shape that `goal` asks for."""
