"""ResNet-34 (He et al. 2016): torchvision's, can be cut after any of its children.

It has [3, 4, 6, 3] blocks of two convolutions. Cut k, counted from 0, leaves children 0..k at the client: 0 conv1,
1 bn1, 2 relu, 3 maxpool, 4-7 layer1-4, 8 avgpool. In a u-shape the head is fc.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from splitleak.contract import Model, Protocol, Shape, Split, Task
from splitleak.models import _resnet as resnet


@dataclass(frozen=True)
class ResNet34(Model):
    """Images (channels, H, W) from 17x17 to K logits or values; at cut 3 z is (64, H / 4, W / 4)."""

    weights: str | None = None  # a safetensors file to start from; an attacker who knows the architecture knows it too

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        file = None if self.weights is None else self.path(self.weights)
        return resnet.blocks("resnet34", in_shape, task, file)

    def cuts(self, protocol: Protocol) -> list[int]:
        return resnet.cuts(protocol)

    def sources(self) -> list[Path]:
        files = [] if self.weights is None else [self.path(self.weights)]
        return [file for file in files if file.is_file()]  # `blocks` reports a missing one

    def split(self, in_shape: Shape, task: Task, cut: int, protocol: Protocol) -> Split:
        return super().split(in_shape, task, cut + 1, protocol)
