"""Flat records in [0, 1] whose label, property and membership can be read off single values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from splitleak.contract import Data, Dataset, Records, Task

CLASSES, COPIES = 3, 4


@dataclass(frozen=True)
class ToyFlat(Dataset):
    """The class is the largest of the first three values, the property a high last one, a member's value 3 is high."""

    n: int = 68  # private records; the last four are copies of the first four, identity included
    width: int = 6
    task: Literal["classes", "value"] = "classes"
    shared: bool = False  # the three parts have the same patients

    def load(self) -> Data:
        generator = torch.Generator().manual_seed(7)
        parts = [self._part(k, n, generator) for k, n in enumerate((self.n - COPIES, 60, 60))]
        index = torch.cat([torch.arange(self.n - COPIES), torch.arange(COPIES)])
        private, aux, test = parts[0].take(index), parts[1], parts[2]
        task = Task("classes", CLASSES) if self.task == "classes" else Task("value", 2)
        return Data(private, aux, test, task, (0.0, 1.0), ("patients-shared",) if self.shared else ())

    def _part(self, number: int, n: int, generator: torch.Generator) -> Records:
        x = torch.rand(n, self.width, generator=generator)
        x[:, 3] = x[:, 3] / 2 + (0.5 if number == 0 else 0.0)
        y = x[:, :CLASSES].argmax(1) if self.task == "classes" else x[:, :2].clone()
        group = torch.randint(0, 9, (n,), generator=generator)  # patients of very different size
        if not self.shared:
            group += 9 * number
        return Records(x, y, torch.arange(n) + 1000 * number, group, (x[:, -1] > 0.5).long())
