"""ResNet-34 of torchvision, [3, 4, 6, 3] blocks of two convolutions, cut after any of its children, counted from 0.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1. Cut k leaves children 0..k at the
client: 0 conv1, 1 bn1, 2 relu, 3 maxpool, 4-7 layer1-4, 8 avgpool; a u-shape's head is fc.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from splitleak.contract import Model, Protocol, Shape, Split, Task
from splitleak.models import _resnet as resnet


@dataclass(frozen=True)
class ResNet34(Model):
    """Images (channels, H, W) from 17x17 to K logits or values; at cut 3 z is (64, H / 4, W / 4)."""

    weights: str | None = None  # a safetensors file to start from; public: who knows the architecture knows it too

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        return resnet.row("resnet34", in_shape, task, self.weights)

    def cuts(self, protocol: Protocol) -> list[int]:
        return resnet.cuts(protocol)

    def split(self, in_shape: Shape, task: Task, cut: int, protocol: Protocol) -> Split:
        return super().split(in_shape, task, cut + 1, protocol)
