"""Public methods that nothing would ever call: a misspelt hook does nothing, and a table would call it a defence."""

from __future__ import annotations

import inspect
import sys

from torch import nn

from splitleak.contract.errors import BadInput, did_you_mean

LIBRARIES = {"torch", "builtins", "splitleak.contract", *sys.stdlib_module_names}


def check_methods(cls: type, base: type, who: str) -> None:
    """BadInput if a class, or one that it inherits from, has a public method that its base does not know.

    Properties, fields and classes inside the class are no methods. A class that is an nn.Module may be one in full.
    """
    bases = [base, *([nn.Module] if issubclass(cls, nn.Module) else [])]
    legal = {name for known in bases for name in dir(known)} | getattr(cls, "__dataclass_fields__", {}).keys()
    for own in cls.__mro__:
        if own in base.__mro__ or _is_of_a_library(own):
            continue
        for name, value in vars(own).items():
            if name not in legal and not name.startswith("_") and _is_method(value):
                meant = did_you_mean(name, [known for known in legal if callable(getattr(base, known, None))])
                raise BadInput(f"{who}: no method '{name}' is ever called{meant} (own helpers begin with _)")


def _is_of_a_library(cls: type) -> bool:
    """A class of Python, of torch or of the contract."""
    return bool({cls.__module__.partition(".")[0], cls.__module__.rpartition(".")[0]} & LIBRARIES)


def _is_method(value: object) -> bool:
    return inspect.isfunction(value) or isinstance(value, staticmethod | classmethod)
