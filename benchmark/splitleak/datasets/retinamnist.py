"""RetinaMNIST (Yang et al. 2023): 1600 RGB retinal photographs, 28 x 28 pixels, grades 0-4.

Scientific Data 10:41, made from DeepDRiD (Liu et al., Patterns 3(6):100512, 2022), which has four images of every
patient. The file does not name the patients, so private and auxiliary part share patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from splitleak.contract import Data, Dataset
from splitleak.contract.errors import BadInput
from splitleak.datasets.fundus import Classes, grades_to_classes, task_of
from splitleak.datasets.reading.array_files import read_npz
from splitleak.datasets.reading.division_by_person import Manifest
from splitleak.datasets.reading.image_records import ImageSet, Size, data_from_arrays
from splitleak.datasets.reading.locate import find_layout

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class RetinaMNIST(Dataset):
    """`binary`: grade 0 against 2 and more, without grade 1; `all`: five classes. `val` is read as training data."""

    size: Size = 28  # pixels; 28 is the file's size, others are resampled
    classes: Classes = "binary"

    def load(self) -> Data:
        _, file = find_layout("retinamnist", {"npz": ("medmnist/retinamnist.npz", "retinamnist.npz")})
        who = f"dataset '{self}' ({file})"
        raw = read_npz(file, {f"{p}_images": 4 for p in PARTS} | {f"{p}_labels": 2 for p in PARTS})
        label = np.concatenate([raw[f"{p}_labels"][:, 0] for p in PARTS]).astype(np.int64)
        if label.min() < 0 or label.max() > 4:
            raise BadInput(f"{file}: labels from {label.min()} to {label.max()}; legal: 0 to 4")
        names = [f"{p} {i}" for p in PARTS for i in range(len(raw[f"{p}_labels"]))]
        test = np.array([name.startswith("test") for name in names])
        x = np.concatenate([raw[f"{p}_images"] for p in PARTS])
        rows, manifest = grades_to_classes(Manifest(names, label, None, test), self.classes)
        images = ImageSet(manifest, task_of(self.classes), who, flags=("patients-shared",))
        return data_from_arrays(images, x[rows], self.size)
