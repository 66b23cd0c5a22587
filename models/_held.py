"""Networks that Python code hands over as objects: kept in this process under a name that says what they are."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable

from torch import nn

from splitleak.contract import BadInput
from splitleak.store import fingerprint

MARK = "memory:"
_held: dict[str, nn.Module] = {}


def hold(module: nn.Module) -> str:
    """The name under which a copy of the module is kept: the hash of its weights, its form and its code."""
    whole = hashlib.sha256(f"{module}{fingerprint(module.state_dict())}".encode())
    for each in dict.fromkeys(type(part) for part in module.modules()):
        whole.update(_code(each).encode())
    name = MARK + whole.hexdigest()[:16]
    _held[name] = copy.deepcopy(module)
    return name


def held(name: str, who: str) -> Callable[[], nn.Module]:
    """A function that returns a copy of the module; only the process that was given it, and its forks, have it."""
    if name not in _held:
        raise BadInput(f"{who} is a network in the memory of the process that began; it is not in this one")
    return lambda: copy.deepcopy(_held[name])


def _code(of: type[nn.Module]) -> str:
    if of.__module__.startswith("torch."):
        return of.__qualname__
    try:
        return inspect.getsource(of)
    except (OSError, TypeError):  # made at a prompt
        return of.__qualname__
