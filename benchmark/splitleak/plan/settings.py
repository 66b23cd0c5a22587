"""The sections of a matrix beside its axes: how the victim is trained and how an attack is judged."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from splitleak.contract.plugin import later, short
from splitleak.contract.task import Objective

Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Train:
    """`[train]`: one optimiser a party, all with the same settings."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    epochs: Positive = 20
    batch_size: Annotated[int, Field(ge=2)] = 32
    lr: Annotated[float, Field(gt=0)] = 1e-3
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # of sgd
    schedule: Literal["constant", "cosine"] = "constant"
    loss: Objective = later("own")  # of masks also dice, bce, bce_dice
    flip: Literal["none", "horizontal", "both"] = later("none")  # mirror images at random, and masks with them
    augment: bool = later(False)  # turn, scale, shift and relight images at random, and move masks with them
    curve: bool = False  # note the utility on the test part after every epoch; nothing is chosen by it


@dataclass(frozen=True)
class Federated:
    """The protocol `fedavg`: what Flower's strategy asks of the clients each round, and what it makes of the answers.

    `[train]` gives rounds, local_epochs, local_steps and strategy for all, a table on the protocol axis for one point.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    rounds: Positive = 5
    local_epochs: Positive = 3  # of each client's own records, in each round
    local_steps: Positive | None = None  # so many batches a round, in place of epochs
    batch_size: Positive | None = None  # of the clients, as the next two; None is `[train]`'s
    optimizer: Literal["adam", "sgd"] | None = None
    lr: Annotated[float, Field(gt=0)] | None = None
    strategy: Literal["fedavg", "fedprox", "fedadam"] = "fedavg"
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the clients that take part in a round
    proximal_mu: Annotated[float, Field(ge=0)] = 0.1  # of fedprox: the pull back to the round's first weights
    server_lr: Annotated[float, Field(gt=0)] = 0.01  # of fedadam
    utility_every: Positive = 1  # rounds between two points of the utility's curve: each costs the whole test part

    def __str__(self) -> str:
        """`fedavg(rounds=5, local_epochs=3)`: what was chosen, and how long it trains in any case."""
        long = "local_epochs" if self.local_steps is None else "local_steps"
        usual = {f.name: f.default for f in fields(self)}
        own = {"fedprox": ("proximal_mu",), "fedadam": ("server_lr",)}.get(self.strategy, ())
        always = ("rounds", long, *(["strategy", *own] if own else []))
        chosen = [n for n, d in usual.items() if n in always or (getattr(self, n) != d and n != "local_epochs")]
        return f"fedavg({', '.join(f'{n}={short(getattr(self, n))}' for n in chosen)})"


@dataclass(frozen=True)
class Evaluate:
    """`[evaluate]`: whose records are attacked, how many, and how many hints a class a label attack gets, how often."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    targets: Annotated[int, Field(ge=2)] = 1000
    whose: Literal["train", "test"] = "train"  # of test records no gradient and no label crosses
    hints: Positive = 1  # a class
    draws: Positive = 1  # of the hints: an attack on labels that reads them is run on each, its score their mean


@dataclass(frozen=True)
class Clients:
    """The `clients` axis: how many, whether they take turns or average, and how their records differ."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    n: Positive = 1
    mode: Literal["sequential", "parallel"] = "sequential"
    skew: Annotated[float, Field(gt=0)] | None = later(None)  # alpha of a Dirichlet: small is skewed; None is even

    def __str__(self) -> str:
        if self.n == 1:
            return "1"
        return f"{self.n} {self.mode}" + ("" if self.skew is None else f" skew={self.skew:g}")
