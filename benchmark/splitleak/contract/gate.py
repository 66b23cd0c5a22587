"""A gate hands out copies of what was granted, and remembers what was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn

from splitleak.contract.errors import NotGranted
from splitleak.contract.nouns import Grant


class Gate:
    """Hands out what was granted, and remembers what was read."""

    prefix = ""  # stands before a name in the list of what was read

    def __init__(self, grants: Grant, sources: Mapping[str, Callable[[], Any]], read: set[str]) -> None:
        self._grants, self._sources, self._been_read = grants, sources, read

    def _read(self, name: str, grant: Grant) -> Any:
        if grant not in self._grants:
            raise NotGranted(f"'{self.prefix}{name}' was not granted; declare Grant.{grant.name} in `needs`")
        if name not in self._sources:
            raise NotGranted(f"there is no '{self.prefix}{name}' under this protocol or task")
        self._been_read.add(self.prefix + name)
        return self._sources[name]()


class Granted:
    """A tensor of a view or a step: reading it needs a grant and returns a copy."""

    def __init__(self, grant: Grant, meaning: str) -> None:
        self.grant, self.__doc__ = grant, meaning

    def __set_name__(self, owner: type[Gate], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, gate: None, owner: type[Gate]) -> Granted: ...

    @overload
    def __get__(self, gate: Gate, owner: type[Gate]) -> Tensor: ...

    def __get__(self, gate: Gate | None, owner: type[Gate]) -> Granted | Tensor:
        if gate is None:
            return self
        found: Tensor = gate._read(self.name, self.grant)
        return found.detach().clone()


def bare(t: Tensor) -> Tensor:
    """A copy on the CPU that is its numbers and nothing else.

    A tensor of a class of the attack's own runs the attack's code in every operation that it meets. In the client it
    would see weights and records, and in the score the truth.
    """
    return torch.from_numpy(np.array(t.detach().cpu().numpy()))


def frozen(module: nn.Module) -> nn.Module:
    """Eval mode without gradients of weights; gradients still reach the input."""
    return module.eval().requires_grad_(False)
