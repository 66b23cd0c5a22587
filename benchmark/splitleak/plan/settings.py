"""The sections of a matrix beside its axes: how a victim is trained, how attacks are scored, what a matrix is about."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from splitleak.contract.plugin import keyed, later, short
from splitleak.contract.task import Objective

Positive = Annotated[int, Field(ge=1)]
FEDERATED = ("rounds", "local_epochs", "local_steps", "strategy", "fraction", "proximal_mu", "server_lr")  # in [train]


@dataclass(frozen=True)
class Train:
    """`[train]`: how a victim is trained. Client and server use the same optimiser settings."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    epochs: Annotated[int, Field(ge=0)] = 20  # passes over the private records; 0: the weights stay as they are
    batch_size: Annotated[int, Field(ge=2)] = 32  # records
    lr: Annotated[float, Field(gt=0)] = 1e-3  # learning rate of the first epoch
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # of sgd; adam ignores it
    schedule: Literal["constant", "cosine"] = "constant"  # of the learning rate, by epoch
    loss: Objective = later("own")  # "own": the loss of the task; masks can also be trained with dice, bce or bce_dice
    flip: Literal["none", "horizontal", "both"] = later("none")  # mirror images at random, and their masks with them
    augment: bool = later(False)  # turn, scale, shift and relight images at random, and move their masks with them
    curve: bool = False  # record the utility on the test part after every epoch; it selects nothing


@dataclass(frozen=True)
class Federated:
    """Settings of the protocol `fedavg`: what the server asks of the clients in each round.

    `[train]` sets rounds, local_epochs, local_steps, strategy, fraction, proximal_mu and server_lr for the whole
    matrix; a table on the protocol axis sets any field for one value of that axis.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    rounds: Positive = 5  # averages over the clients
    local_epochs: Positive = 3  # passes of a client over its own records in one round
    local_steps: Positive | None = None  # batches of a client in one round; replaces local_epochs
    batch_size: Positive | None = None  # records in a client's batch; None: the value of `[train]`
    optimizer: Literal["adam", "sgd"] | None = None  # of the clients; None: the value of `[train]`
    lr: Annotated[float, Field(gt=0)] | None = None  # learning rate of the clients; None: the value of `[train]`
    strategy: Literal["fedavg", "fedprox", "fedadam"] = "fedavg"  # how the server combines the clients' weights
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of the clients that take part in a round
    proximal_mu: Annotated[float, Field(ge=0)] = 0.1  # of fedprox: weight of the pull to the round's first weights
    server_lr: Annotated[float, Field(gt=0)] = 0.01  # of fedadam: learning rate of the server
    utility_every: Positive = 1  # rounds between two points of the utility curve; each point reads the whole test part

    def __str__(self) -> str:
        """`fedavg(rounds=5, local_epochs=3)`: the length of the training, and what differs from the defaults."""
        length = "local_epochs" if self.local_steps is None else "local_steps"
        default = {f.name: f.default for f in fields(self)}
        own = {"fedprox": ("proximal_mu",), "fedadam": ("server_lr",)}.get(self.strategy, ())
        always = ("rounds", length, *(["strategy", *own] if own else []))
        chosen = [n for n, d in default.items() if n in always or (getattr(self, n) != d and n != "local_epochs")]
        return f"fedavg({', '.join(f'{n}={short(getattr(self, n))}' for n in chosen)})"


@dataclass(frozen=True)
class Evaluate:
    """`[evaluate]`: which records are attacked, and how many known labels an attack on labels gets."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    targets: Annotated[int, Field(ge=2)] = 1000  # records under attack, at most
    targets_from: Literal["train", "test"] = keyed("train", "whose")  # for test records no gradient or label is sent
    hints: Positive = 1  # targets of each class with known label, for an attack on labels
    draws: Positive = 1  # random draws of the hints; the attack runs once on each, and its score is the mean
    per_record: bool = later(False)  # INPUTS: the record of the cell tells how well each target was guessed
    null: bool = later(True)  # the first seed's attacks also run on the null channel
    control: bool = later(False)  # INPUTS: as many strangers among the targets, scored apart; a suite's default: true


@dataclass(frozen=True)
class Clients:
    """One value of the `clients` axis: how many clients there are, and how they train and divide the records."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    n: Positive = 1  # clients
    mode: Literal["sequential", "parallel"] = "sequential"  # they train in turn, or together with averaged weights
    skew: Annotated[float, Field(gt=0)] | None = later(None)  # alpha of a Dirichlet division; None: an even division

    def __str__(self) -> str:
        if self.n == 1:
            return "1"
        return f"{self.n} {self.mode}" + ("" if self.skew is None else f" skew={self.skew:g}")


@dataclass(frozen=True)
class AboutSection:
    """`[about]`: what a person wants to know before a run. It is no part of any key."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    what: str = ""  # one sentence
    minutes: Annotated[float, Field(gt=0)] | None = None  # of a whole run on two CPU cores, measured or estimated
