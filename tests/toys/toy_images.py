"""Images of smooth noise; the mask is where they are bright, the class whether they are dark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812

from splitleak.contract import Data, Dataset, Records, Task, later


@dataclass(frozen=True)
class ToyImages(Dataset):
    """(1, 8, 8) in [0, 1] with masks (1, 8, 8): the pixels above one half. Or with classes: bright or dark."""

    n: int = 36
    task: Literal["mask", "classes"] = later("mask")

    def load(self) -> Data:
        generator = torch.Generator().manual_seed(11)
        parts = []
        for number in range(3):
            coarse = torch.rand(self.n, 1, 4, 4, generator=generator)
            x = F.interpolate(coarse, (8, 8), mode="bilinear").clamp(0, 1)
            group = torch.arange(self.n) // 3 + 1000 * number
            dark = (x.mean((1, 2, 3)) < 0.5).long()
            y = (x > 0.5).float() if self.task == "mask" else dark
            parts.append(Records(x, y, torch.arange(self.n) + 1000 * number, group, dark))
        return Data(*parts, Task("mask", 1) if self.task == "mask" else Task("classes", 2), (0.0, 1.0))
