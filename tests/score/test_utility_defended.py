"""The utility that a record tells is that of the network with its defence active, on known answers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from splitleak.contract import Data, Defense, Records, Split, Task
from splitleak.contract.split import Bottom, Head
from splitleak.score import utility
from splitleak.train.party import Party
from splitleak.train.victim import Victim


@dataclass(frozen=True)
class Nothing(Defense):
    """Changes nothing."""


@dataclass(frozen=True)
class Constant(Defense):
    """Sends the message of class 0 in place of every message."""

    def smash(self, z: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.0, 0.0]).expand_as(z)


@dataclass(frozen=True)
class Twisted(Defense):
    """Turns the classes by one on the way: what was a perfect network is never right."""

    def smash(self, z: Tensor) -> Tensor:
        return z.roll(1, 1)


def perfect(defense: Defense, u_shape: bool) -> Victim:
    """A network that reads the class off: undefended, it is always right. Class 0 is a fifth of the test part."""
    y = torch.tensor([0, 1, 1, 2, 2] * 8)
    x = torch.nn.functional.one_hot(y, 3).float()
    part = Records(x, y, torch.arange(len(y)))
    data = Data(part, part, part, Task("classes", 3), (0.0, 1.0))
    nothing = torch.nn.Identity
    split = Split(Bottom(nothing()), torch.nn.Sequential(nothing()), Head(nothing()) if u_shape else None)
    return Victim.of(split, data, defense)


@pytest.mark.parametrize("u_shape", [False, True])
def test_utility_is_taken_with_the_defence_active(u_shape: bool) -> None:
    undefended, constant, twisted = (perfect(defense, u_shape) for defense in (Nothing(), Constant(), Twisted()))
    assert utility.on_test(undefended) == ("accuracy", 1.0)
    assert utility.on_test(constant) == ("accuracy", 0.2)
    assert utility.on_test(twisted) == ("accuracy", 0.0)
    assert utility.facts(twisted)["utility"] == 0.0
    assert utility.facts(constant)["utility_also"]["balanced_accuracy"] == pytest.approx(1 / 3)
    parties = [Party(0, twisted.split, twisted.data.private, twisted.recipe.train, 0)]
    assert [client["utility"] for client in utility.by_client(twisted, parties)] == [0.0]
