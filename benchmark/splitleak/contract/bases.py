"""The base classes of attacks, models and datasets; a defence has `defense.py`.

Letters in shapes: B batch, N targets, M auxiliary records, K classes; `*in` one record, `*cut` one activation,
`*out` what the server sends back in a u-shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from splitleak.contract.nouns import Data, Goal, Grant, Shape
from splitleak.contract.plugin import Plugin
from splitleak.contract.protocols import TRAFFIC, Protocol
from splitleak.contract.split import Bottom, Head, Split
from splitleak.contract.task import Task
from splitleak.contract.view import View


class Dataset(Plugin, ABC):
    """A source of records, divided into a private, an auxiliary and a test part."""

    @abstractmethod
    def load(self) -> Data:
        """Read, check and divide the records. Raises BadInput, which names the file and what is wrong with it.

        The parts share no identity. Values are finite and inside `in_range`, every class occurs in every part, x is
        float32, y is int64 for classes and float for masks and values. Every call returns the same records in the
        same order.
        """

    def locate(self) -> None:
        """Raise FilesMissing where the files are missing. Override it where that can be told without reading them."""
        self.load()


class Model(Plugin, ABC):
    """An architecture as a row of blocks. Cut k keeps the first k blocks at the client.

    A network that is no plain row, such as a U-Net with skips, overrides `split` and returns its own parts.
    """

    u_shaped: bool = False  # "u_shape" is its usual protocol
    withheld: Grant = Grant(0)  # parts that nobody brought, and no attacker can have: another stands in for each

    def usual_protocol(self) -> Protocol:
        """The protocol where a matrix names none."""
        return "u_shape" if self.u_shaped else "vanilla"

    @abstractmethod
    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        """The whole network in order; under "u_shape" the client keeps the last block as its head."""

    @abstractmethod
    def cuts(self, protocol: Protocol) -> list[int]:
        """Every legal cut under a protocol; the default comes first."""

    def split(self, in_shape: Shape, task: Task, cut: int, protocol: Protocol) -> Split:
        """Cut the network. From the same random state the weights are the same for every cut."""
        blocks = self.blocks(in_shape, task)
        has_head = TRAFFIC[protocol].head
        last = len(blocks) - 1 if has_head else len(blocks)
        head = Head(*blocks[last:]) if has_head else None
        return Split(Bottom(*blocks[:cut]), nn.Sequential(*blocks[cut:last]), head)

    def untrained(self, in_shape: Shape, task: Task, cut: int, protocol: Protocol) -> Split:
        """The same network with weights that an attacker drew: who knows the architecture has this.

        Override it where `split` returns weights that were learned.
        """
        return self.split(in_shape, task, cut, protocol)


class Attack(Plugin, ABC):
    """An attacker. It receives a View, never the ground truth, and returns a guess that the harness scores."""

    goal: Goal
    needs: Grant
    tasks: tuple[str, ...] = ("classes", "mask", "value")  # on victims of other tasks its cells are skipped
    shadows: int = 0  # shadow victims that the harness trains for it: an even number where it needs Grant.SHADOWS

    @abstractmethod
    def run(self, view: View) -> Tensor:
        """Return the guess; `goal` says its shape."""
