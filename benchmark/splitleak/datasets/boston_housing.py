"""Boston housing (Harrison & Rubinfeld 1978): 506 census tracts, 13 columns, home value.

J. Environ. Econ. Manage. 5:81-102, as the package mlxtend ships it. The value is the median of a tract's homes in
thousands of dollars. Column B assumes that segregation raises prices; for this reason scikit-learn removed the dataset.
It is included only for comparison with published figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from splitleak.contract import Data, Dataset, Records, Task
from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.validation import validate

SHAPE, TRAIN, SEED = (506, 13), 404, 1978  # 404 rows for training, 102 for testing, as published


@dataclass(frozen=True)
class BostonHousing(Dataset):
    """`standard`: each column minus its mean over the 404 training rows, divided by its deviation; `raw`: as published.

    A record is (13,), its value (1,) in thousands of dollars in both. in_range runs from the least to the greatest
    value of any column in the training rows; test values outside are clamped to it.
    """

    scale: Literal["standard", "raw"] = "standard"
    draw: Annotated[int, Field(ge=0)] = 0  # which 404 of the 506 rows are for training
    aux: Annotated[float, Field(ge=0.01, le=0.9)] = 0.4  # share of the 404 that is auxiliary; published: none

    def load(self) -> Data:
        x, y = _read_mlxtend(f"dataset '{self}'")
        order = np.random.default_rng(SEED + self.draw).permutation(len(x))
        train, private_rows = order[:TRAIN], TRAIN - round(self.aux * TRAIN)
        if self.scale == "standard":
            x = (x - x[train].mean(0)) / x[train].std(0)
        low, high = np.float32(x[train].min()), np.float32(x[train].max())
        x = x.astype(np.float32).clip(low, high)
        private, aux, test = (_records(x, y, rows) for rows in np.split(order, [private_rows, TRAIN]))
        return validate(Data(private, aux, test, Task("value", 1), (float(low), float(high))), f"dataset '{self}'")


def _records(x: Array, y: Array, rows: Array) -> Records:
    rows = np.sort(rows)
    y = y[rows, None].astype(np.float32)  # (n, 1)
    return Records(torch.from_numpy(x[rows]), torch.from_numpy(y), torch.from_numpy(rows))


def _read_mlxtend(who: str) -> tuple[Array, Array]:
    """x (506, 13) and y (506,) as mlxtend ships them."""
    try:
        from mlxtend.data import boston_housing_data
    except ImportError as error:
        raise FilesMissing(f"{who}: its rows are in the package mlxtend: pip install 'splitleak[fed]'") from error
    try:
        x, y = boston_housing_data()
    except (OSError, ValueError) as error:
        raise BadInput(f"{who}: mlxtend's file is not readable ({' '.join(str(error).split())})") from error
    if x.shape != SHAPE or y.shape != SHAPE[:1]:
        raise BadInput(f"{who}: mlxtend gives x {x.shape} and y {y.shape}; must be {SHAPE} and {SHAPE[:1]}")
    return x, y
