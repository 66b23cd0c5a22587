"""CIFAR-10 (Krizhevsky 2009): 60,000 colour images, 32 x 32 pixels, 10 classes.

"Learning Multiple Layers of Features from Tiny Images", technical report, Toronto. It reads the official binary
version: rows of one label byte and 3,072 bytes, the red, the green and the blue plane; a file may have any number of
rows. The other official version is a pickle, which would run code, and is not read. The files do not say who took
which photograph.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from splitleak.contract import Data, Dataset, Task
from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.division_by_person import Manifest
from splitleak.datasets.reading.image_records import ImageSet, Size, data_from_arrays
from splitleak.datasets.reading.locate import find_layout

FOLDER, CLASSES, SIDE = "cifar-10-batches-bin", 10, 32
ROW = 1 + 3 * SIDE * SIDE  # bytes
BATCHES = (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin")


@dataclass(frozen=True)
class CIFAR10(Dataset):
    """60 % of the images of the five training files are private, 40 % auxiliary, those of the test file test."""

    size: Size = SIDE  # pixels; 32 is the files' size, others are resampled
    n: Annotated[int, Field(ge=100)] | None = None  # at most so many private (2n/3 auxiliary, n test) records

    def load(self) -> Data:
        markers = (f"cifar10/{FOLDER}/{BATCHES[0]}", f"{FOLDER}/{BATCHES[0]}")
        folder = find_layout("cifar10", {"binary": markers})[1].parent
        read = [read_batch(folder / name) for name in BATCHES]
        x, label = (np.concatenate(parts) for parts in zip(*read, strict=True))
        names = [f"{name} {row}" for name, (images, _) in zip(BATCHES, read, strict=True) for row in range(len(images))]
        test = np.array([name.startswith("test") for name in names])
        manifest = Manifest(names, label, None, test)
        images = ImageSet(manifest, Task("classes", CLASSES), f"dataset '{self}' ({folder})", self.n)
        return data_from_arrays(images, x, self.size)


def read_batch(file: Path) -> tuple[Array, Array]:
    """Images (n, 32, 32, 3) in uint8 and their labels (n,) from one file."""
    if not file.is_file():
        raise FilesMissing(f"{file}: no such file")
    raw = np.fromfile(file, np.uint8)
    if not len(raw) or len(raw) % ROW:
        raise BadInput(f"{file}: {len(raw)} bytes; it must have rows of {ROW} bytes (a label and 3 x 32 x 32 pixels)")
    rows = raw.reshape(-1, ROW)
    label = rows[:, 0].astype(np.int64)
    if label.max() >= CLASSES:
        raise BadInput(f"{file}: labels from {label.min()} to {label.max()}; legal: 0 to {CLASSES - 1}")
    return rows[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), label
