"""The simulated patients of `ecg_synthetic` at 360 Hz: ventricular premature beats (V) against normal ones (N).

Shape, classes and proportions are those of `ecg_pvc`: 185 samples, 92 on either side of the R peak. No download.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from splitleak.contract import Data, Dataset
from splitleak.datasets.ecg_synthetic import R_PEAK, SAMPLES, Clinic, simulated
from splitleak.datasets.reading.check import checked
from splitleak.datasets.reading.premature import REACH

LONG = 201 / SAMPLES  # samples at 360 Hz for one of `ecg_synthetic`
TWO = Clinic(
    {"N": 73_762 / 80_494, "V": 6_732 / 80_494},  # as in `ecg_pvc`
    ("NV", "N", "NV", "N", "V"),
    R_PEAK + np.arange(-REACH, REACH + 1) / LONG,
)


@dataclass(frozen=True)
class ECGPVCSynthetic(Dataset):
    """`patients`: 30 people are private, 10 auxiliary, 10 test; `clean`: everybody is in every part."""

    split: Literal["patients", "clean"] = "patients"
    n: Annotated[int, Field(ge=500, le=200_000)] = 4000  # private beats; auxiliary and test get a third of it each

    def load(self) -> Data:
        return checked(simulated(self.n, self.split, TWO), f"dataset '{self}'")
