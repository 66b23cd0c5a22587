"""VGG-16 for small images (Simonyan and Zisserman 2015): 13 convolutions with batch norm, one linear layer.

The convolutions are 3x3 and have 64, 64, 128, 128, 256 (3 times) and 512 (6 times) channels; a pool ends each of the
five stages. Cut k leaves the first k convolutions at the client, each with its batch norm, ReLU and pool.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, table 1
(D); on CIFAR-10 it is the victim of PCAT (Gao and Zhang, USENIX Security 2023).

Differs from the source, as is usual for images of 32x32: batch norm, and one linear layer in place of three.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from splitleak.contract import Model, Protocol, Shape, Task
from splitleak.models._images import classifiable

LEAST = 32  # pixels: five halvings leave one position
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # channels


@dataclass(frozen=True)
class VGG(Model):
    """Images (channels, H, W) from 32x32 to K logits or values; of 32x32 z is (64, 16, 16) at cut 2."""

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        channels = classifiable("model 'vgg'", in_shape, task, LEAST, "five halvings")[0]
        row: list[nn.Module] = []
        for stage in STAGES:
            for outputs in stage:
                row.append(nn.Sequential(nn.Conv2d(channels, outputs, 3, 1, 1), nn.BatchNorm2d(outputs), nn.ReLU()))
                channels = outputs
            row[-1].append(nn.MaxPool2d(2))  # type: ignore[operator]
        return [*row, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, task.size))]

    def cuts(self, protocol: Protocol) -> list[int]:
        last = 12 if protocol == "u_shape" else 13  # in a u-shape the server needs a layer to train
        return [2, 1, *range(3, last + 1)]
