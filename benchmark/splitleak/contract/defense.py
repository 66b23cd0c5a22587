"""The base class of defences, and the hooks through which one acts on training and on what crosses the cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from splitleak.contract.nouns import Parameters, Privacy, Protocol
from splitleak.contract.plugin import Plugin
from splitleak.contract.split import Split


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

    def state(self) -> dict[str, Any]:
        """Everything that changes in training and is no weight or buffer of a module: what a resumed training needs.

        Values are tensors or what JSON holds (numbers, text, None, lists of them). A module's own weights and buffers
        are kept without it; so are the random states of torch, numpy and Python.
        """
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, on a fresh live defence of the same configuration."""


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
