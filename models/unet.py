"""U-Net (Ronneberger et al. 2015): the client keeps the outer levels, on the way down and up.

Cut k leaves the first k levels on the way down and the last k on the way up at the client. The skips of the client's
levels, and their gradients, stay at the client, so the only protocol is the u-shape: under `vanilla` they would have to
be sent too.

Source: Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015,
section 2.
Differs from the paper:
- It has batch norm, and padding so that a mask is as large as its image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

from splitleak.contract import BadInput, Model, Protocol, Shape, Split, Task


@dataclass(frozen=True)
class UNet(Model):
    """Images (channels, H, W) to mask logits (1, H, W); at cut k z is (width 2^(k - 1), H / 2^k, W / 2^k)."""

    levels: Annotated[int, Field(ge=2, le=8)] = 5  # published: 5; the lowest is always the server's
    width: Annotated[int, Field(ge=1)] = 64  # channels of the first level, doubled at each level down; published: 64

    u_shaped = True

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        raise BadInput("model 'unet' is no row of blocks: its skips go around the cut")

    def cuts(self, protocol: Protocol) -> list[int]:
        default = min(2, self.levels - 1)  # the middle one of the published cuts 1, 2, 3
        legal = [] if protocol != "u_shape" else range(1, self.levels)
        return sorted(legal, key=lambda cut: cut != default)

    def split(self, in_shape: Shape, task: Task, cut: int, protocol: Protocol) -> Split:
        if len(in_shape) != 3 or task.kind != "mask":
            raise BadInput(f"model 'unet': records of shape {in_shape} for a {task.kind} task; "
                           f"it takes images (channels, H, W) for a mask")  # fmt: skip
        channels, height, width = in_shape
        step = 2 ** (self.levels - 1)
        if height % step or width % step:
            raise BadInput(f"model 'unet': images of {height}x{width}; {self.levels} levels take multiples of {step}")
        wide = [self.width * 2**level for level in range(self.levels)]
        down = [_twice(i, o) for i, o in zip([channels, *wide], wide, strict=False)]
        up = [_Up(wide[level]) for level in reversed(range(self.levels - 1))]
        last, at_server = nn.Conv2d(self.width, task.size, 1), self.levels - 1 - cut
        server = _Server(_Down(down[cut:-1]), down[-1], _Ascent(up[:at_server]))
        return Split(_Down(down[:cut]), server, _Ascent(up[at_server:], last))


def _twice(inputs: int, outputs: int) -> nn.Module:
    layers: list[nn.Module] = []
    for i in (inputs, outputs):
        layers += [nn.Conv2d(i, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class _Up(nn.Module):
    """One level up: twice the size, half the channels; the skip is concatenated; then two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.grow = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.level = _twice(2 * width, width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        joined: Tensor = self.level(torch.cat([skip, self.grow(x)], 1))
        return joined


class _Down(nn.ModuleList):
    """Levels on the way down: x -> (pooled, their skips); also used as the client's bottom."""

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        kept = []
        for level in self:
            kept.append(level(x))
            x = F.max_pool2d(kept[-1], 2)
        return x, tuple(kept)


class _Ascent(nn.Module):
    """Levels on the way up; each takes a skip, the deepest first. With the last convolution it is the client's head."""

    def __init__(self, levels: list[_Up], last: nn.Module | None = None) -> None:
        super().__init__()
        self.levels, self.last = nn.ModuleList(levels), last or nn.Identity()

    def forward(self, x: Tensor, kept: tuple[Tensor, ...]) -> Tensor:
        for level, skip in zip(self.levels, reversed(kept), strict=True):
            x = level(x, skip)
        out: Tensor = self.last(x)
        return out


class _Server(nn.Module):
    """z (B, *cut) -> features (B, *out): the levels below the cut; their skips stay at the server."""

    def __init__(self, down: _Down, middle: nn.Module, up: _Ascent) -> None:
        super().__init__()
        self.down, self.middle, self.up = down, middle, up

    def forward(self, z: Tensor) -> Tensor:
        z, kept = self.down(z)
        features: Tensor = self.up(self.middle(z), kept)
        return features
