"""He et al.'s CIFAR-10 network (2019): six 3x3 convolutions, then two linear layers with a sigmoid between them.

Every layer is a block, so that it can be cut where the paper cuts it. Behind cut 1 is conv11, 2 ReLU11, 3 conv12,
4 ReLU12, 5 pool1, 6 conv21, 7 ReLU21, 8 conv22, 9 ReLU22, 10 pool2, 11 conv31, 12 ReLU31, 13 conv32, 14 ReLU32,
15 pool3, 16 fc1, 17 its sigmoid.

Source: He, Zhang and Lee, "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019, section 4 (its
CIFAR-10 victim); UnSplit (Erdogan et al., WPES 2022) attacks it too.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from splitleak.contract import Model, Protocol, Shape, Task
from splitleak.models._images import classifiable

LEAST = 8  # pixels: three halvings leave one position
PUBLISHED = (9, 1, 14)  # ReLU22, conv11, ReLU32


@dataclass(frozen=True)
class HeCNN(Model):
    """Images (channels, H, W) from 8x8 to K logits or values; of 32x32 z is (128, 16, 16) at cut 9."""

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        channels, height, width = classifiable("model 'he_cnn'", in_shape, task, LEAST, "three halvings")
        layers: list[nn.Module] = []
        for outputs in (64, 128, 128):
            layers += [nn.Conv2d(channels, outputs, 3, 1, 1), nn.ReLU()]
            layers += [nn.Conv2d(outputs, outputs, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)]
            channels = outputs
        first = nn.Sequential(nn.Flatten(), nn.Linear(channels * (height // 8) * (width // 8), 512))
        return [*layers, first, nn.Sigmoid(), nn.Linear(512, task.size)]

    def cuts(self, protocol: Protocol) -> list[int]:
        last = 15 if protocol == "u_shape" else 17  # in a u-shape the server needs a layer to train
        return [*PUBLISHED, *(cut for cut in range(1, last + 1) if cut not in PUBLISHED)]
