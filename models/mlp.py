"""MLP (Rumelhart et al. 1986): linear layers with ReLU between them, for records of any shape.

For tables, flattened images and signals. Cut k leaves the first k hidden layers at the client; the literature on label
inference splits such networks after hidden layers.

Source: Rumelhart, Hinton and Williams, "Learning Representations by Back-Propagating Errors", Nature 1986.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Annotated

from pydantic import Field
from torch import nn

from splitleak.contract import BadInput, Model, Protocol, Shape, Task

Width = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class MLP(Model):
    """Records of any shape, flattened, to K logits or values; at cut k z is (hidden[k - 1],)."""

    # in a matrix [[256, 128]]: the outer list holds the values to try
    hidden: Annotated[tuple[Width, ...], Field(min_length=1)] = (256, 128)

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        if task.kind == "mask":
            raise BadInput("model 'mlp': its output has no positions for a mask; it takes classes or values")
        wide = [prod(in_shape), *self.hidden]
        layers = [nn.Sequential(nn.Linear(i, o), nn.ReLU()) for i, o in pairwise(wide)]
        layers[0].insert(0, nn.Flatten())
        return [*layers, nn.Linear(wide[-1], task.size)]

    def cuts(self, protocol: Protocol) -> list[int]:
        server = 1 if protocol == "u_shape" else 0  # in a u-shape the server needs a layer to train
        return list(range(1, len(self.hidden) + 1 - server))
