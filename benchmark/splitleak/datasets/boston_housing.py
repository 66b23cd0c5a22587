"""Boston housing: 506 census tracts, 13 columns each, and the median value of a home there in thousands of dollars.

Harrison & Rubinfeld, J. Environ. Econ. Manage. 5:81-102 (1978), as the package mlxtend ships it. Its column B assumes
that segregation raises prices, for which scikit-learn gave the set up: here for comparison with published figures only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from splitleak.contract import Data, Dataset, Records, Task
from splitleak.contract.errors import BadInput, NotAtHand
from splitleak.datasets.reading.check import checked
from splitleak.datasets.reading.folder import Array

SHAPE, TRAIN, SEED = (506, 13), 404, 1978  # and 102 to test, as published


@dataclass(frozen=True)
class BostonHousing(Dataset):
    """`standard`: columns less their mean over the 404 training rows and over their deviation; `raw`: as published.

    A record is (13,), its answer (1,) in thousands of dollars either way. in_range runs from the least to the greatest
    value that any column has in the training rows; test values beyond are clamped to it.
    """

    scale: Literal["standard", "raw"] = "standard"
    draw: Annotated[int, Field(ge=0)] = 0  # which 404 of the 506 rows are for training
    aux: Annotated[float, Field(ge=0.01, le=0.9)] = 0.4  # share of the 404 that is auxiliary; published: none

    def load(self) -> Data:
        x, y = _shipped(f"dataset '{self}'")
        order = np.random.default_rng(SEED + self.draw).permutation(len(x))
        train, kept = order[:TRAIN], TRAIN - round(self.aux * TRAIN)
        if self.scale == "standard":
            x = (x - x[train].mean(0)) / x[train].std(0)
        low, high = np.float32(x[train].min()), np.float32(x[train].max())
        x = x.astype(np.float32).clip(low, high)
        private, aux, test = (_rows(x, y, rows) for rows in np.split(order, [kept, TRAIN]))
        return checked(Data(private, aux, test, Task("value", 1), (float(low), float(high))), f"dataset '{self}'")


def _rows(x: Array, y: Array, rows: Array) -> Records:
    rows = np.sort(rows)
    y = y[rows, None].astype(np.float32)  # (n, 1)
    return Records(torch.from_numpy(x[rows]), torch.from_numpy(y), torch.from_numpy(rows))


def _shipped(who: str) -> tuple[Array, Array]:
    """x (506, 13) and y (506,), as they lie in mlxtend."""
    try:
        from mlxtend.data import boston_housing_data
    except ImportError as error:
        raise NotAtHand(f"{who}: its rows are in the package mlxtend: pip install 'splitleak[fed]'") from error
    try:
        x, y = boston_housing_data()
    except (OSError, ValueError) as error:
        raise BadInput(f"{who}: mlxtend's file is not readable ({' '.join(str(error).split())})") from error
    if x.shape != SHAPE or y.shape != SHAPE[:1]:
        raise BadInput(f"{who}: mlxtend gives x {x.shape} and y {y.shape}, wanted {SHAPE} and {SHAPE[:1]}")
    return x, y
