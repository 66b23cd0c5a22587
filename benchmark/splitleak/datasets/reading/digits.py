"""The file formats of MNIST and its followers: four idx files, plain or .gz, or one npz of four arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from splitleak.contract import Data, Task
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.divide import Roll
from splitleak.datasets.reading.folder import Array, idx, npz
from splitleak.datasets.reading.images import from_arrays

TRAIN = "train-images-idx3-ubyte*"  # the mark of a folder of idx files
TASK = Task("classes", 10)


def read(mark: Path, size: int, n: int | None, who: str) -> Data:
    """Grey pictures in ten classes from the npz or the folder that `mark` lies in."""
    (x, y), (x_test, y_test) = _npz(mark) if mark.suffix == ".npz" else (_idx(mark, p) for p in ("train", "t10k"))
    if x.shape[1:] != x_test.shape[1:]:
        raise BadInput(f"{who}: training pictures {x.shape[1:]}, test pictures {x_test.shape[1:]}; wanted equal")
    if len(x) != len(y) or len(x_test) != len(y_test):
        had = f"{len(x)} and {len(x_test)} pictures, {len(y)} and {len(y_test)} labels"
        raise BadInput(f"{who}: {had}; wanted one label for each picture")
    label = np.concatenate([y, y_test]).astype(np.int64)
    if label.min() < 0 or label.max() > 9:
        raise BadInput(f"{who}: labels from {label.min()} to {label.max()}; legal: 0 to 9")
    names = [f"train {i}" for i in range(len(y))] + [f"test {i}" for i in range(len(y_test))]
    roll = Roll(names, label, None, np.arange(len(names)) >= len(y))
    return from_arrays(roll, np.concatenate([x, x_test]), size, TASK, who, n=n)


def _npz(file: Path) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    raw = npz(file, {"x_train": 3, "y_train": 1, "x_test": 3, "y_test": 1})
    return (raw["x_train"], raw["y_train"]), (raw["x_test"], raw["y_test"])


def _idx(mark: Path, part: str) -> tuple[Array, Array]:
    ending = ".gz" if mark.suffix == ".gz" else ""
    images, labels = (mark.with_name(f"{part}-{kind}-ubyte{ending}") for kind in ("images-idx3", "labels-idx1"))
    return idx(images, 3), idx(labels, 1)
