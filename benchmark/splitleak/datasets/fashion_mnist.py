"""Fashion-MNIST: 70,000 pieces of clothing of 28 x 28 pixels, ten classes.

Xiao, Rasul & Vollgraf, arXiv:1708.07747 (2017). Debian's package `dataset-fashion-mnist` holds it whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from splitleak.contract import Data, Dataset
from splitleak.datasets.reading.digits import TRAIN, read
from splitleak.datasets.reading.folder import Layouts, find_layout
from splitleak.datasets.reading.images import Size

DEBIAN = "share/datasets/fashion-mnist"
LAYOUTS: Layouts = {
    "npz": ("fashion_mnist/fashion_mnist.npz", "fashion_mnist.npz"),
    "idx": (
        *(
            f"{folder}/{TRAIN}"
            for folder in ("FashionMNIST/raw", "fashion_mnist/raw", "fashion_mnist", "fashion-mnist")
        ),
        f"{DEBIAN}/**/{TRAIN}",
    ),
}
SYSTEM = Path("/usr")  # looked into last


@dataclass(frozen=True)
class FashionMNIST(Dataset):
    """60 % of the 60,000 are private, 40 % auxiliary, the 10,000 test."""

    size: Size = 28  # pixels; the files' own, others are resampled
    n: Annotated[int, Field(ge=100)] | None = None  # at most so many private (2n/3 auxiliary, n test) records

    def load(self) -> Data:
        mark = find_layout("fashion_mnist", LAYOUTS, places=(SYSTEM,))[1]
        return read(mark, self.size, self.n, f"dataset '{self}' ({mark})")
