"""Synthetic ECG heartbeats, PVC or normal (no download): 185 samples, 2 classes, 50 patients.

The simulated patients of `ecg_synthetic` at 360 Hz: ventricular premature beats (V) against normal ones (N). Shape,
classes and proportions are those of `ecg_pvc`: 185 samples, 92 on each side of the R peak.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from splitleak.contract import Data, Dataset
from splitleak.datasets.ecg_synthetic import R_PEAK, SAMPLES, BeatPlan, simulate_beats
from splitleak.datasets.reading.pvc_beats import MARGIN
from splitleak.datasets.reading.validation import validate

RATE = 201 / SAMPLES  # samples at 360 Hz for each sample of `ecg_synthetic`
PVC_PLAN = BeatPlan(
    {"N": 73_762 / 80_494, "V": 6_732 / 80_494},  # as in `ecg_pvc`
    ("NV", "N", "NV", "N", "V"),
    R_PEAK + np.arange(-MARGIN, MARGIN + 1) / RATE,
)


@dataclass(frozen=True)
class ECGPVCSynthetic(Dataset):
    """`patients`: 30 patients are private, 10 auxiliary, 10 test; `clean`: every patient is in every part."""

    split: Literal["patients", "clean"] = "patients"
    n: Annotated[int, Field(ge=500, le=200_000)] = 4000  # private beats; auxiliary and test get a third of it each

    def load(self) -> Data:
        return validate(simulate_beats(self.n, self.split, PVC_PLAN), f"dataset '{self}'")
