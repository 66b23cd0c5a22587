"""Run code of the victim without what an attack has switched on in torch: hooks and modes would show it everything.

A hook on all modules, a mode around all functions and a hook on saved tensors get the victim's own records and weights
as arguments while the victim trains or answers. They are put aside, and put back afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import overrides
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers
from torch.utils import _python_dispatch as dispatch

T = TypeVar("T")
Table = MutableMapping[Any, Any]
HOOKS: list[Table] = [
    table
    for home in (modules, optimizers)
    for name, table in vars(home).items()
    if name.startswith("_global_") and isinstance(table, MutableMapping)
]
SAVED = torch._C._autograd  # hooks on tensors that are saved for the backward pass


@contextmanager
def unobserved() -> Iterator[None]:
    """Nothing of the hooks and modes that are switched on acts inside; they act again afterwards."""
    with _hooks_aside(), _modes_aside(), torch.inference_mode(False):
        yield


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Hooks and modes that were switched on inside, and left on, are switched off afterwards."""
    hooks, lengths = [dict(table) for table in HOOKS], [stack.length() for stack in STACKS]
    try:
        yield
    finally:
        for table, was in zip(HOOKS, hooks, strict=True):
            table.clear()
            table.update(was)
        for stack, length in zip(STACKS, lengths, strict=True):
            stack.pop_to(length)


def hidden(function: Callable[..., T]) -> Callable[..., T]:
    """The same function, unobserved."""

    @functools.wraps(function)
    def call(*given: Any) -> T:
        with unobserved():
            return function(*given)

    return call


@contextmanager
def _hooks_aside() -> Iterator[None]:
    filled = [(table, dict(table)) for table in HOOKS if table]
    for table, _ in filled:
        table.clear()
    try:
        yield
    finally:
        for table, was in filled:
            table.update(was)


@contextmanager
def _modes_aside() -> Iterator[None]:
    popped = [stack.pop_to(0) for stack in STACKS]
    try:
        yield
    finally:
        for stack, modes in zip(STACKS, popped, strict=True):
            stack.push_all(modes)


@dataclass(frozen=True)
class Stack:
    """One of torch's stacks of what is switched on: the last pushed acts first."""

    length: Callable[[], int]
    pop: Callable[[], Any]
    push: Callable[[Any], None]

    def pop_to(self, length: int) -> list[Any]:
        """Pop until so many are left; the last pushed comes first."""
        return [self.pop() for _ in range(self.length() - length)]

    def push_all(self, popped: list[Any]) -> None:
        for one in reversed(popped):
            self.push(one)


def _pop_saved() -> Any:
    pair = SAVED._top_saved_tensors_default_hooks(True)
    SAVED._pop_saved_tensors_default_hooks()
    return pair


def _saved() -> int:
    """How many pairs of hooks on saved tensors there are: torch tells only whether there is one."""
    popped = []
    while SAVED._top_saved_tensors_default_hooks(True) is not None:
        popped.append(_pop_saved())
    for pair in reversed(popped):
        SAVED._push_saved_tensors_default_hooks(*pair)
    return len(popped)


STACKS = (
    Stack(torch._C._len_torch_function_stack, overrides._pop_mode, overrides._push_mode),
    Stack(torch._C._len_torch_dispatch_stack, dispatch._pop_mode, dispatch._push_mode),
    Stack(_saved, _pop_saved, lambda pair: SAVED._push_saved_tensors_default_hooks(*pair)),
)
