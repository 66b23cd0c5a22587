"""MNIST (LeCun et al. 1998): 70,000 grey images of digits, 28 x 28 pixels, 10 classes.

Proc. IEEE 86(11):2278-2324. Handwritten digits; the files do not say who wrote which digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from splitleak.contract import Data, Dataset
from splitleak.datasets.reading.image_records import Size
from splitleak.datasets.reading.locate import Layouts, find_layout
from splitleak.datasets.reading.mnist_format import TRAIN, load_mnist_format

LAYOUTS: Layouts = {
    "npz": ("mnist/mnist.npz", "mnist.npz"),
    "idx": (f"MNIST/raw/{TRAIN}", f"mnist/raw/{TRAIN}", f"mnist/{TRAIN}"),
}


@dataclass(frozen=True)
class MNIST(Dataset):
    """60 % of the 60,000 are private, 40 % auxiliary, the 10,000 test."""

    size: Size = 28  # pixels; 28 is the files' size, others are resampled
    n: Annotated[int, Field(ge=100)] | None = None  # at most so many private (2n/3 auxiliary, n test) records

    def load(self) -> Data:
        marker = find_layout("mnist", LAYOUTS)[1]
        return load_mnist_format(marker, self.size, self.n, f"dataset '{self}' ({marker})")
