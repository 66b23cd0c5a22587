"""The sections of a matrix beside its axes: how the victim is trained and how an attack is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from splitleak.nouns import Objective

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
    loss: Objective = "own"  # of masks also dice, bce, bce_dice
    flip: Literal["none", "horizontal", "both"] = "none"  # mirror images at random, and masks with them
    curve: bool = False  # note the utility on the test part after every epoch; nothing is chosen by it


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
    skew: Annotated[float, Field(gt=0)] | None = None  # alpha of a Dirichlet: small is skewed; None is even

    def __str__(self) -> str:
        if self.n == 1:
            return "1"
        return f"{self.n} {self.mode}" + ("" if self.skew is None else f" skew={self.skew:g}")
