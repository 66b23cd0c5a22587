"""Fashion-MNIST (Xiao et al. 2017): 70,000 grey images of clothing, 28 x 28, 10 classes.

Xiao, Rasul & Vollgraf, arXiv:1708.07747. Debian's package `dataset-fashion-mnist` contains all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from splitleak.contract import Data, Dataset
from splitleak.datasets.reading.image_records import Size
from splitleak.datasets.reading.locate import Layouts, find_layout
from splitleak.datasets.reading.mnist_format import TRAIN, load_mnist_format

FOLDERS = ("FashionMNIST/raw", "fashion_mnist/raw", "fashion_mnist", "fashion-mnist")
DEBIAN = "share/datasets/fashion-mnist/**"
LAYOUTS: Layouts = {
    "npz": ("fashion_mnist/fashion_mnist.npz", "fashion_mnist.npz"),
    "idx": tuple(f"{folder}/{TRAIN}" for folder in (*FOLDERS, DEBIAN)),
}
SYSTEM = Path("/usr")  # searched last


@dataclass(frozen=True)
class FashionMNIST(Dataset):
    """60 % of the 60,000 are private, 40 % auxiliary, the 10,000 test."""

    size: Size = 28  # pixels; 28 is the files' size, others are resampled
    n: Annotated[int, Field(ge=100)] | None = None  # at most so many private (2n/3 auxiliary, n test) records

    def load(self) -> Data:
        marker = find_layout("fashion_mnist", LAYOUTS, more_places=(SYSTEM,))[1]
        return load_mnist_format(marker, self.size, self.n, f"dataset '{self}' ({marker})")
