"""MNIST: 70,000 handwritten digits of 28 x 28 pixels, ten classes; who wrote which is not told.

LeCun et al., Proc. IEEE 86(11):2278-2324 (1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from splitleak.contract import Data, Dataset
from splitleak.datasets.reading.digits import TRAIN, read
from splitleak.datasets.reading.folder import Layouts, find_layout
from splitleak.datasets.reading.images import Size

LAYOUTS: Layouts = {
    "npz": ("mnist/mnist.npz", "mnist.npz"),
    "idx": (f"MNIST/raw/{TRAIN}", f"mnist/raw/{TRAIN}", f"mnist/{TRAIN}"),
}


@dataclass(frozen=True)
class MNIST(Dataset):
    """60 % of the 60,000 are private, 40 % auxiliary, the 10,000 test."""

    size: Size = 28  # pixels; the files' own, others are resampled
    n: Annotated[int, Field(ge=100)] | None = None  # at most so many private (2n/3 auxiliary, n test) records

    def load(self) -> Data:
        mark = find_layout("mnist", LAYOUTS)[1]
        return read(mark, self.size, self.n, f"dataset '{self}' ({mark})")
