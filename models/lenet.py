"""LeNet (LeCun et al. 1998): two 5x5 convolutions, linear layers; as attack papers use it.

Two convolutions of 5x5 with pools, then linear layers of 120 and 84. Cut k leaves the first k of the four blocks before
the logits at the client. With `fine`, every layer is a block, for papers that cut inside: behind cut 1 is conv1,
2 ReLU1, 3 pool1, 4 conv2, 5 ReLU2, 6 pool2, 7 the flat features, 8 fc1, 9 its ReLU, 10 fc2, 11 its ReLU.

Source: He, Zhang and Lee, "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019 (its MNIST victim); the
smooth variant, with tanh and average pools, is the original LeNet: LeCun, Bottou, Bengio and Haffner, Proc. IEEE 1998.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from splitleak.contract import Model, Protocol, Shape, Task, later
from splitleak.models._images import classifiable

LEAST = 16  # pixels: two unpadded convolutions and two pools leave one position


@dataclass(frozen=True)
class LeNet(Model):
    """Images (channels, H, W) from 16x16 to K logits or values; of 28x28 z is (16, 4, 4) at cut 2."""

    activation: Literal["relu", "sigmoid", "tanh"] = "relu"  # published: relu; gradient matching needs a smooth one
    # gradient matching needs average pools too: the gradient of a maximum jumps
    pool: Literal["max", "average"] = later("max")
    fine: bool = later(False)  # can be cut after every layer; the weights are the same

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        use = "its two convolutions and pools"
        channels, height, width = classifiable("model 'lenet'", in_shape, task, LEAST, use)
        act = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}[self.activation]
        pool = nn.MaxPool2d if self.pool == "max" else nn.AvgPool2d
        left = [((size - 4) // 2 - 4) // 2 for size in (height, width)]
        rows: list[list[nn.Module]] = [
            [nn.Conv2d(channels, 8, 5), act(), pool(2)],
            [nn.Conv2d(8, 16, 5), act(), pool(2)],
            [nn.Flatten(), nn.Linear(16 * left[0] * left[1], 120), act()],
            [nn.Linear(120, 84), act()],
        ]
        whole = [layer for row in rows for layer in row] if self.fine else [nn.Sequential(*row) for row in rows]
        return [*whole, nn.Linear(84, task.size)]

    def cuts(self, protocol: Protocol) -> list[int]:
        last = (9, 11) if self.fine else (3, 4)  # in a u-shape the server needs a layer to train
        default = 6 if self.fine else 2
        return sorted(range(1, last[protocol != "u_shape"] + 1), key=lambda cut: cut != default)
