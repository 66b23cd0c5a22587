"""What every plug-in is written against; an attack, a defence, a model or a dataset imports from here alone.

Letters in shapes: B batch, N targets, M auxiliary records, K classes; `*in` one record, `*cut` one
activation, `*out` what the server sends back in a u-shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from splitleak.errors import BadGuess, BadInput, Detected, Diverged, NotGranted
from splitleak.nouns import Data, Goal, Grant, Parameters, Privacy, Protocol, Records, Shape, Task
from splitleak.plugin import Plugin, later
from splitleak.split import Bottom, Head, Split
from splitleak.view import Step, Update, View

__all__ = [
    "Attack", "BadGuess", "BadInput", "Bottom", "Data", "Dataset", "Defense", "Detected", "Diverged", "Goal", "Grant",
    "Head", "Hooks", "Model", "NotGranted", "Parameters", "Plugin", "Privacy", "Protocol", "Records", "Shape", "Split",
    "Step", "Task", "Update", "View", "later",
]  # fmt: skip


class Dataset(Plugin, ABC):
    """Where records come from and how they are divided."""

    @abstractmethod
    def load(self) -> Data:
        """Read, check and divide; BadInput names the file and what is wrong with it."""


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


class Hooks:
    """Where a defence may act. Each hook is the identity until overridden."""

    def optimizer(self, client: Split, make: Callable[[Parameters], torch.optim.Optimizer]) -> torch.optim.Optimizer:
        """The optimiser of one client's own parts, `client.bottom` and `client.head`."""
        return make(client.client_parameters())

    def batch(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The client's batch before the forward pass; this y is what is sent."""
        return x, y

    def smash(self, z: Tensor) -> Tensor:
        """Each message up, (B, *cut), in training, in the release and in every query; fresh randomness each time."""
        return z

    def penalty(self, x: Tensor, z: Tensor, sent: Tensor, y: Tensor) -> Tensor | None:
        """An extra loss () of the client."""
        return None

    def observe(self, x: Tensor, sent: Tensor) -> None:
        """After the step: the defence's own training; no gradient reaches the client."""

    def gradient(self, g: Tensor, y: Tensor) -> Tensor:
        """The label holder, on each gradient that it sends."""
        return g

    def inspect(self, g: Tensor, y: Tensor) -> None:
        """The client, on each gradient that it receives; raise `Detected` to stop."""


class Defense(Plugin, Hooks):
    """A defence's frozen configuration. Without learned parts or state it is its own live form."""

    shows_all = True
    protocols: ClassVar[tuple[Protocol, ...]] = ("central", "vanilla", "u_shape")  # where it does anything
    sums: ClassVar[bool] = False  # under `fedavg`: the server learns the mean of the updates, and no client's own

    def shape(self, split: Split) -> Split:
        """Change the network before training (a bottleneck, a quantiser)."""
        return split

    def begin(self, split: Split, seed: int) -> Hooks:
        """The live defence; an nn.Module's state is saved with the victim, and after training it is in eval mode.

        `split` knows its in_shape, cut_shape and out_shape, and the in_range of the records.
        """
        return self

    def strategy(self, base: Any, clients: int) -> Any:
        """Under `fedavg`: Flower's strategy with this defence around it; `clients` take part in each round."""
        return base

    def mods(self) -> list[Any]:
        """Under `fedavg`: Flower's modifiers around the client's app, the first outermost."""
        return []

    def privacy(self, releases: int, batches: int = 1) -> Privacy | None:
        """The guarantee after a record was sent `releases` times; None: it makes no such claim.

        Once an epoch, in one of its client's `batches` batches, and once after training.
        """
        return None


class Attack(Plugin, ABC):
    """An adversary. It gets a View, never the truth, and returns a guess; the harness checks and scores it."""

    goal: Goal
    needs: Grant

    @abstractmethod
    def run(self, view: View) -> Tensor:
        """The guess, of the shape that `goal` asks for."""
