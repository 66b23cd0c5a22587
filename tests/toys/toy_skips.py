"""A U-Net of three levels whose client keeps the skips of its own levels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitleak.contract import BadInput, Model, Protocol, Shape, Split, Task

LEVELS, WIDTH = 3, 4


def level(inputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True))


class Whole(nn.Module):
    """The uncut network: down with a skip a level, the middle, up again with the skips in turn."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(level(channels if i == 0 else WIDTH) for i in range(LEVELS))
        self.middle = level(WIDTH)
        self.up = nn.ModuleList(level(2 * WIDTH) for _ in range(LEVELS))
        self.last = nn.Conv2d(WIDTH, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.middle(x)
        for block in self.up:
            x = block(torch.cat([nn.functional.interpolate(x, scale_factor=2.0), skips.pop()], 1))
        return self.last(x)


class Down(nn.Module):
    """Levels on the way down: (z, kept)."""

    def __init__(self, levels: nn.ModuleList) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        kept = []
        for block in self.levels:
            x = block(x)
            kept.append(x)
            x = nn.functional.max_pool2d(x, 2)
        return x, tuple(kept)


class Up(nn.Module):
    """Levels on the way up, fed with what was kept."""

    def __init__(self, levels: nn.ModuleList, last: nn.Module | None = None) -> None:
        super().__init__()
        self.levels, self.last = levels, last

    def forward(self, x: Tensor, kept: tuple[Tensor, ...]) -> Tensor:
        for block, skip in zip(self.levels, reversed(kept), strict=True):
            x = block(torch.cat([nn.functional.interpolate(x, scale_factor=2.0), skip], 1))
        return x if self.last is None else self.last(x)


class Server(nn.Module):
    """The levels below the cut, with skips of their own."""

    def __init__(self, down: nn.ModuleList, middle: nn.Module, up: nn.ModuleList) -> None:
        super().__init__()
        self.down, self.middle, self.up = Down(down), middle, Up(up)

    def forward(self, z: Tensor) -> Tensor:
        z, kept = self.down(z)
        return self.up(self.middle(z), kept)


def parts(whole: Whole, cut: int) -> Split:
    """The same network, cut after `cut` levels: client, server, client."""
    server = Server(whole.down[cut:], whole.middle, whole.up[: LEVELS - cut])
    return Split(Down(whole.down[:cut]), server, Up(whole.up[LEVELS - cut :], whole.last))


@dataclass(frozen=True)
class ToySkips(Model):
    """Only u-shaped: its skips must not cross."""

    u_shaped = True

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        raise BadInput("model 'toy_skips' is no row of blocks")

    def cuts(self, protocol: Protocol) -> list[int]:
        return [] if protocol == "vanilla" else [2, 1, 3]

    def split(self, in_shape: Shape, task: Task, cut: int, protocol: Protocol) -> Split:
        return parts(Whole(in_shape[0]), cut)
