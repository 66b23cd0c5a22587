"""A shadow victim: made by the recipe of the real one, and what it would have sent for the targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from splitleak.contract.gate import Gate, Granted, frozen
from splitleak.contract.nouns import Grant


class Shadow(Gate):
    """A victim with the same defence and training, on a random half of all private records and strangers.

    What it trained on was drawn without regard to what the real victim trained on. Its messages went through a defence
    of its own, with fresh randomness. Names and shapes are those of the view.
    """

    prefix = "shadow."
    trained_on = Granted(Grant.SHADOWS, "(N,) bool: which of the targets it trained on")
    smashed = Granted(Grant.SHADOWS, "(N, *cut): its smashed data of the targets, defence applied")
    gradient = Granted(Grant.SHADOWS, "(N, *cut): the gradient of each target's own loss that it received")
    features = Granted(Grant.SHADOWS, "(N, *out): u-shape only, what its server sent down")
    gradient_features = Granted(Grant.SHADOWS, "(N, *out): u-shape only, what it sent up for the features")
    labels = Granted(Grant.SHADOWS, "(N, ...): the labels of the targets that it sent, where they cross the wire")

    def __init__(self, sources: Mapping[str, Callable[[], Any]], read: set[str]) -> None:
        super().__init__(Grant.SHADOWS, sources, read)

    @property
    def top(self) -> nn.Module:
        """A copy of its server's part: eval mode, frozen."""
        return frozen(self._read("top", Grant.SHADOWS))
