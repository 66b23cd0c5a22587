"""A small plain network for flat records or for masks of images, with everything that makes cutting delicate."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import nn

from splitleak.contract import Model, Protocol, Shape, Task


@dataclass(frozen=True)
class ToyChain(Model):
    """Batch norm, dropout and a layer that works in place; as `identity` the first block changes nothing."""

    identity: bool = False
    dropout: float = 0.0
    norm: bool = True

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        image = len(in_shape) == 3
        channels, out = in_shape[0], prod(in_shape[:1]) if task.kind == "mask" else task.size
        level = (lambda i, o: nn.Conv2d(i, o, 3, padding=1)) if image else nn.Linear
        norm = (nn.BatchNorm2d if image else nn.BatchNorm1d) if self.norm else nn.Identity
        first: nn.Module = nn.Identity() if self.identity else level(channels, channels)
        return [
            first,
            nn.Sequential(level(channels, 8), norm(8)),
            nn.ReLU(inplace=True),
            nn.Dropout(self.dropout),
            level(8, 8),
            nn.ReLU(inplace=True),
            level(8, out),
        ]

    def cuts(self, protocol: Protocol) -> list[int]:
        return [1, 2, 3, 4, 5]
