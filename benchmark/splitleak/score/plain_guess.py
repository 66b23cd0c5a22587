"""A guess as plain numbers of the harness's own: whatever tensor an attack returned, later code meets no surprise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from splitleak.contract import BadGuess


def plain_guess(guess: Any, shape: tuple[int, ...], who: str) -> Tensor:
    """A copy on the CPU in double precision, without a graph and of class Tensor; whole numbers and bools count.

    BadGuess for what is no dense tensor of real numbers in this shape. A copy, since the attack may keep its tensor
    and change it later; and no subclass, since its comparisons and its shape are code of the attack's author.
    """
    if not isinstance(guess, Tensor):
        raise BadGuess(f"{who}: guess is {type(guess).__name__}, must be a tensor of shape {shape}")
    with torch._C.DisableTorchFunctionSubclass():
        try:
            plain = Tensor.detach(guess)  # of class Tensor, unless its class replaces the operators of torch itself
            if kind := _unfit(plain):
                raise BadGuess(f"{who}: guess is {kind}, must be a dense tensor of real numbers of shape {shape}")
            return plain.to("cpu", torch.float64, copy=True)
        except (RuntimeError, TypeError) as error:  # of a tensor without values, such as one on the device meta
            why = str(error).splitlines()[0]
            raise BadGuess(f"{who}: guess of class {type(guess).__name__} holds no numbers: {why}") from error


def _unfit(t: Tensor) -> str:
    """What makes a tensor unfit for a guess; empty if nothing does."""
    if type(t) is not Tensor:
        return f"of class {type(t).__name__}"
    kinds = {"complex": t.is_complex(), "quantized": t.is_quantized, "nested": t.is_nested}
    return next((kind for kind, found in kinds.items() if found), "" if t.layout == torch.strided else "sparse")
