"""The base class of defences, and the hooks through which one acts on training and on what crosses the cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from splitleak.contract.nouns import Exposure, Parameters, Privacy, Records
from splitleak.contract.plugin import Plugin
from splitleak.contract.protocols import Protocol
from splitleak.contract.split import Split


class Hooks:
    """The places where a defence may act. Each hook changes nothing until a defence overrides it."""

    def optimizer(self, client: Split, make: Callable[[Parameters], torch.optim.Optimizer]) -> torch.optim.Optimizer:
        """The optimiser of the parts of one client, `client.bottom` and `client.head`."""
        return make(client.client_parameters())

    def labels(self, records: Records) -> Tensor:
        """The labels (n, ...) that the client trains on and sends for these records of its own.

        Called before training and again for each release. A random choice must depend on `records.id` alone, so that
        all epochs, varied images, copies and releases of a record show one choice: several could be averaged.
        """
        return records.y

    def batch(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The client's batch before the forward pass, with labels from `labels`; the client sends this y."""
        return x, y

    def smash(self, z: Tensor) -> Tensor:
        """Change each message (B, *cut) to the server: in training, in the release and in every query.

        Random numbers are drawn anew at each call.
        """
        return z

    def penalty(self, x: Tensor, z: Tensor, sent: Tensor, y: Tensor) -> Tensor | None:
        """An additional loss () of the client."""
        return None

    def observe(self, x: Tensor, sent: Tensor) -> None:
        """After each step, train the parts of the defence itself; no gradient reaches the client."""

    def gradient(self, g: Tensor, y: Tensor) -> Tensor:
        """Change each gradient that the holder of the labels sends."""
        return g

    def inspect(self, g: Tensor, y: Tensor) -> None:
        """Look at each gradient that the client receives; raise `Detected` to stop the training."""

    def state(self) -> dict[str, Any]:
        """Everything that changes in training and is no weight or buffer of a module: what a resumed training needs.

        Values are tensors or what JSON holds (numbers, text, None, lists of them). A module's own weights and buffers
        are kept without it; so are the random states of torch, numpy and Python.
        """
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, on a fresh live defence of the same configuration."""


class Defense(Plugin, Hooks):
    """The frozen configuration of a defence. If it learns nothing and keeps no state, it is its own live form."""

    shows_all = True
    protocols: ClassVar[tuple[Protocol, ...]] = ("central", "vanilla", "u_shape", "inference")  # where it has an effect
    sums: ClassVar[bool] = False  # under `fedavg`: the server learns only the mean of the updates

    def shape(self, split: Split) -> Split:
        """Change the network before training, for example by a bottleneck or a quantiser."""
        return split

    def begin(self, split: Split, seed: int) -> Hooks:
        """The live defence. If it is an nn.Module, its weights are saved with the victim.

        `split` knows its in_shape, cut_shape and out_shape, and the in_range of the records. After training a module
        is in eval mode.
        """
        return self

    def strategy(self, base: Any, clients: int) -> Any:
        """Under `fedavg`: wrap Flower's strategy; `clients` clients take part in each round."""
        return base

    def mods(self) -> list[Any]:
        """Under `fedavg`: Flower's modifiers of the client's app, the outermost first."""
        return []

    def privacy(self, exposure: Exposure) -> Privacy | None:
        """The guarantee after this use of a record and its copies; None if the defence claims none.

        It names its unit, what neighbours differ by, and how many copies of the unit it counts.
        """
        return None
