"""FSHA's ResNet (Pasquini et al. 2021): a convolution and four residual blocks, for images of 32x32.

The convolution has 64 channels, batch norm, ReLU and a pool. The residual blocks have 64, 128, 128 and 256 channels;
the second and the fourth halve the image. Cut k, as in the paper, leaves the convolution and the first k residual
blocks at the client. The server pools the features and classifies them.

Source: Pasquini, Ateniese, Bernaschi, "Unleashing the Tiger: Inference Attacks on Split Learning", ACM CCS 2021,
appendix (the client's network).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from splitleak.contract import Model, Protocol, Shape, Task
from splitleak.models._images import classifiable

LEAST = 8  # pixels: three halvings leave one position


@dataclass(frozen=True)
class FSHAResNet(Model):
    """Images (channels, H, W) from 8x8 to K logits or values; of 32x32 z is (256, 4, 4) at cut 4."""

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        channels = classifiable("model 'fsha_resnet'", in_shape, task, LEAST, "three halvings")[0]
        stem = [nn.Conv2d(channels, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2), Block(64, 64, 1)]
        rest = [Block(64, 128, 2), Block(128, 128, 1), Block(128, 256, 2)]
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return [nn.Sequential(*stem), *rest, pool, nn.Linear(256, task.size)]

    def cuts(self, protocol: Protocol) -> list[int]:
        return [4, 3, 2, 1] if protocol == "vanilla" else [3, 2, 1]  # in a u-shape the server needs a layer to train


class Block(nn.Module):
    """ReLU, convolution, ReLU, convolution, plus x; a convolution of x where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        first, second = nn.Conv2d(inputs, outputs, 3, stride, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.body = nn.Sequential(nn.ReLU(), first, nn.ReLU(), second)
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 3, stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.body(x)  # type: ignore[no-any-return]
