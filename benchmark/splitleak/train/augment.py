"""Random variation of images in training: mirrored, or moved and relit, with their masks.

The numbers are drawn from the generator of the order of the records.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

TURN, SIZE, SHIFT = math.radians(10), 0.15, 0.05  # radians; of its size; of its side: at most so much, either way
GAMMA, CONTRAST, BRIGHTNESS = 0.5, 0.25, 0.15  # of its logarithm; around mid-grey; of the range


def varied(x: Tensor, y: Tensor, flip: str, augment: bool, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """The batch, varied as `[train]` says; without variation no number is drawn."""
    x, y = mirrored(x, y, flip, draw)
    return moved(x, y, draw) if augment else (x, y)


def mirrored(x: Tensor, y: Tensor, how: str, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror each image (B, C, H, W) left to right with probability 1/2, with "both" also upside down; masks too."""
    for axis in {"none": (), "horizontal": (3,), "both": (3, 2)}[how]:
        turned = (torch.rand(len(x), generator=draw) < 0.5).to(x.device).view(-1, 1, 1, 1)
        x = torch.where(turned, x.flip(axis), x)
        y = torch.where(turned, y.flip(axis), y) if y.ndim == 4 else y
    return x, y


def moved(x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn, scale and shift each image (B, C, H, W) in [0, 1] with its mask, then relight it; edges are repeated."""
    turn, size, across, down, gamma, contrast, brightness = (torch.rand(7, len(x), generator=draw) * 2 - 1).to(x)
    size = 1 + SIZE * size
    cos, sin = torch.cos(TURN * turn) / size, torch.sin(TURN * turn) / size
    shift = 2 * SHIFT * torch.stack([across, down], 1)  # a side is 2 long here
    where = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    x = _at(x, where)
    if y.ndim == 4:
        y = _at(y.to(x.dtype), where).to(y.dtype)
    gamma, contrast, brightness = (t.view(-1, 1, 1, 1) for t in (gamma, contrast, brightness))
    x = x.clamp(0, 1) ** torch.exp(GAMMA * gamma)
    return ((x - 0.5) * (1 + CONTRAST * contrast) + 0.5 + BRIGHTNESS * brightness).clamp(0, 1), y


def _at(t: Tensor, where: Tensor) -> Tensor:
    """Sample t (B, C, H, W) through affine maps (B, 2, 3) from a pixel's position to where its value comes from."""
    grid = F.affine_grid(where, list(t.shape), align_corners=False)
    return F.grid_sample(t, grid, padding_mode="border", align_corners=False)
