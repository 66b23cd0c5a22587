"""RetinaMNIST: retinal photographs of 28 x 28 pixels graded 0-4, RGB: none against referable, or all five grades.

Yang et al., Scientific Data 10:41 (2023), from DeepDRiD (Liu et al., Patterns 3(6):100512, 2022), which has four
pictures of every patient. The file does not say whose they are, so private and auxiliary part share patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from splitleak.contract import Data, Dataset
from splitleak.contract.errors import BadInput
from splitleak.datasets.fundus import Classes, graded, task_of
from splitleak.datasets.reading.divide import Roll
from splitleak.datasets.reading.folder import find_layout, npz
from splitleak.datasets.reading.images import Size, from_arrays

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class RetinaMNIST(Dataset):
    """`binary`: grade 0 against 2 and more, grade 1 left out; `all`: five classes. `val` is read as training data."""

    size: Size = 28  # pixels; the file's own, others are resampled
    classes: Classes = "binary"

    def load(self) -> Data:
        _, file = find_layout("retinamnist", {"npz": ("medmnist/retinamnist.npz", "retinamnist.npz")})
        who = f"dataset '{self}' ({file})"
        raw = npz(file, {f"{p}_images": 4 for p in PARTS} | {f"{p}_labels": 2 for p in PARTS})
        label = np.concatenate([raw[f"{p}_labels"][:, 0] for p in PARTS]).astype(np.int64)
        if label.min() < 0 or label.max() > 4:
            raise BadInput(f"{file}: labels from {label.min()} to {label.max()}; legal: 0 to 4")
        names = [f"{p} {i}" for p in PARTS for i in range(len(raw[f"{p}_labels"]))]
        test = np.array([name.startswith("test") for name in names])
        x = np.concatenate([raw[f"{p}_images"] for p in PARTS])
        rows, roll = graded(Roll(names, label, None, test), self.classes)
        return from_arrays(roll, x[rows], self.size, task_of(self.classes), who, flags=("patients-shared",))
