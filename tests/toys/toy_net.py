"""A network as a user brings it: a function without arguments, and a file beside it that it imports."""

from __future__ import annotations

from torch import nn
from toy_layers import WIDTH, Squash


def make() -> nn.Sequential:
    """Signals or images of any size, by their first 64 values, to 5 logits."""
    return nn.Sequential(
        Squash(), nn.Linear(64, WIDTH), nn.ReLU(inplace=True), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 5)
    )
