"""ResNet-20 (He et al. 2016): a convolution and nine residual blocks, for images of 32x32.

The blocks have 16, 32 and 64 channels, three each; blocks 4 and 7 halve the image. Cut k leaves the first convolution
and the first k blocks at the client: the levels of SDAR, which attacks levels 4 to 9.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2; as SDAR (Zhu et al., NDSS
2025) uses it: a 1x1 convolution with batch norm where the shape changes, and a first batch norm without weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak.contract import Model, Protocol, Shape, Task
from splitleak.models._images import classifiable

LEAST = 8  # pixels: two halvings leave two positions
CHANNELS = (16, 16, 16, 32, 32, 32, 64, 64, 64)


@dataclass(frozen=True)
class ResNet20(Model):
    """Images (channels, H, W) from 8x8 to K logits or values; of 32x32 z is (32, 16, 16) at cut 4, (64, 8, 8) at 7."""

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        channels = classifiable("model 'resnet20'", in_shape, task, LEAST, "two halvings")[0]
        first = [nn.Conv2d(channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16, affine=False), nn.ReLU()]
        row = [Block(i, o) for i, o in zip((16, *CHANNELS), CHANNELS, strict=False)]
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return [nn.Sequential(*first, row[0]), *row[1:], pool, nn.Linear(64, task.size)]

    def cuts(self, protocol: Protocol) -> list[int]:
        last = 8 if protocol == "u_shape" else 9  # in a u-shape the server needs a layer to train
        return [7, *(cut for cut in range(1, last + 1) if cut != 7)]


class Block(nn.Module):
    """ReLU of x plus two convolutions of x with batch norm; more channels mean half the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.body = nn.Sequential(
            *(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()),
            *(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        halve = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))
        self.skip = nn.Identity() if stride == 1 else halve

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(cast(Tensor, self.body(x) + self.skip(x)))
