"""The file formats of MNIST and Fashion-MNIST: four idx files, plain or .gz, or one npz of four arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from splitleak.contract import Data, Task
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.array_files import Array, read_idx, read_npz
from splitleak.datasets.reading.division_by_person import Manifest
from splitleak.datasets.reading.image_records import ImageSet, data_from_arrays

TRAIN = "train-images-idx3-ubyte*"  # the file by which a folder of idx files is recognised
TASK = Task("classes", 10)


def load_mnist_format(marker: Path, size: int, n: int | None, who: str) -> Data:
    """Grey images in ten classes from the npz file `marker`, or from the four idx files in its folder."""
    train, test = _from_npz(marker) if marker.suffix == ".npz" else (_from_idx(marker, p) for p in ("train", "t10k"))
    (x, y), (x_test, y_test) = train, test
    if x.shape[1:] != x_test.shape[1:]:
        raise BadInput(f"{who}: training images are {x.shape[1:]}, test images {x_test.shape[1:]}; they must be equal")
    if len(x) != len(y) or len(x_test) != len(y_test):
        counts = f"{len(x)} and {len(x_test)} images, but {len(y)} and {len(y_test)} labels"
        raise BadInput(f"{who}: {counts}; each image needs one label")
    label = np.concatenate([y, y_test]).astype(np.int64)
    if label.min() < 0 or label.max() > 9:
        raise BadInput(f"{who}: labels from {label.min()} to {label.max()}; legal: 0 to 9")
    names = [f"train {i}" for i in range(len(y))] + [f"test {i}" for i in range(len(y_test))]
    manifest = Manifest(names, label, None, np.arange(len(names)) >= len(y))
    return data_from_arrays(ImageSet(manifest, TASK, who, n), np.concatenate([x, x_test]), size)


def _from_npz(file: Path) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    raw = read_npz(file, {"x_train": 3, "y_train": 1, "x_test": 3, "y_test": 1})
    return (raw["x_train"], raw["y_train"]), (raw["x_test"], raw["y_test"])


def _from_idx(marker: Path, part: str) -> tuple[Array, Array]:
    ending = ".gz" if marker.suffix == ".gz" else ""
    images, labels = (marker.with_name(f"{part}-{kind}-ubyte{ending}") for kind in ("images-idx3", "labels-idx1"))
    return read_idx(images, 3), read_idx(labels, 1)
