"""Synthetic ECG heartbeats (after McSharry et al. 2003; no download): 128 samples, 5 classes.

Sums of Gaussian waves: IEEE Trans. Biomed. Eng. 50(3):289-294. Each of the 50 simulated patients has their own wave
shapes. Shape, classes and proportions are those of `ecg`: 128 samples of 4.3 ms each, the R peak at sample 64. By
default 4000 private beats and 1333 in each other part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field

from splitleak.contract import Data, Dataset, Records, Task, later
from splitleak.datasets.ecg import RANGE, SYMBOLS, Symbol, one_vs_rest
from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.validation import validate

PATIENTS, SAMPLES, R_PEAK, SEED = 50, 128, 64, 2003
INCOMPLETE = 0.22  # of the beats that are not N lie between N and their class (fusion beats, incomplete blocks)

# One row for each class; height (the R peak of N is 1), centre and width of: the previous T, P, Q, R, R', S, T.
WAVES = np.array([
    [[0.0, -4, 8], [0.15, 27, 5], [-0.10, 59, 1.6], [1.0, 64, 2.6], [0.0, 70, 2.5], [-0.22, 69, 2.2], [0.30, 124, 15]],
    [[0.0, -4, 8], [0.12, 22, 5], [0.0, 57, 2.5], [0.75, 61, 4.2], [0.65, 69, 4.0], [-0.15, 80, 5], [-0.15, 110, 15]],
    [[0.0, -4, 8], [0.13, 25, 5], [-0.06, 58, 1.8], [0.85, 63, 2.5], [0.40, 71, 2.6], [-0.55, 78, 5], [0.22, 124, 15]],
    [[0.22, 4, 9], [-0.08, 35, 4], [-0.08, 59, 1.6], [0.9, 64, 2.6], [0.0, 70, 2.5], [-0.24, 69, 2.2], [0.25, 120, 14]],
    [[0.05, 0, 9], [0.0, 27, 5], [0.0, 54, 3.0], [1.1, 62, 6.5], [0.35, 72, 6.0], [-0.4, 88, 9], [-0.6, 106, 15]],
])  # fmt: skip


class BeatPlan(NamedTuple):
    """Which classes of beats are simulated for which patients, and at which times they are sampled."""

    share: dict[Symbol, float]  # share of each class; y numbers the classes in this order
    patient_classes: tuple[str, ...]  # the classes of patient 0, 1, ...; repeated for further patients
    times: Array  # (samples,) in the unit of WAVES


FIVE_CLASSES = BeatPlan(
    {"N": 3000 / 13245, "L": 3000 / 13245, "R": 3000 / 13245, "A": 1245 / 13245, "V": 3000 / 13245},  # as in `ecg`
    ("NAV", "NV", "NA", "LV", "RA"),
    np.arange(SAMPLES),
)


@dataclass(frozen=True)
class ECGSynthetic(Dataset):
    """`clean`: every patient is in every part; `patients`: 30 are private, 10 auxiliary, 10 test."""

    n: Annotated[int, Field(ge=500, le=200_000)] = 4000  # private beats; auxiliary and test get a third of it each
    split: Literal["clean", "patients"] = "clean"
    positive: Symbol | None = None  # two classes: this one (1) against the rest (0)
    property: Literal["tall"] | None = later(None)  # the patient's normal beat is taller than the median patient's

    def load(self) -> Data:
        data = simulate_beats(self.n, self.split, FIVE_CLASSES)
        if self.property is not None:
            private, aux, test = (_with_tall(part) for part in (data.private, data.aux, data.test))
            data = replace(data, private=private, aux=aux, test=test)
        return validate(one_vs_rest(data, self.positive), f"dataset '{self}'")


def _with_tall(part: Records) -> Records:
    waves, _ = _simulate_patients(np.random.default_rng(SEED))  # the first draw, as in `simulate_beats`
    height = np.abs(waves[:, 0, :, 0]).max(1)  # (patient,)
    tall = torch.from_numpy((height > np.median(height)).astype(np.int64))
    return replace(part, property=None if part.group is None else tall[part.group])


def simulate_beats(n: int, split: Literal["clean", "patients"], plan: BeatPlan) -> Data:
    """n private beats and a third as many in each other part, of 50 patients who are the same in every call."""
    rng = np.random.default_rng(SEED)
    patients = _simulate_patients(rng)
    everyone = np.arange(PATIENTS)
    pools = np.split(everyone, [30, 40]) if split == "patients" else [everyone] * 3
    third = n // 3
    numbers = np.split(np.arange(n + 2 * third), [n, n + third])
    private, aux, test = (_beats(i, pool, patients, rng, plan) for i, pool in zip(numbers, pools, strict=True))
    flags = () if split == "patients" else ("patients-shared",)
    return Data(private, aux, test, Task("classes", len(plan.share)), RANGE, flags)


def _simulate_patients(rng: np.random.Generator) -> tuple[Array, Array]:
    """Waves, (patient, class, wave, 3), and baselines, (patient,).

    A patient's waves differ from WAVES in one way for all classes, and half as much again in each class.
    """
    own, extra = rng.normal(size=(PATIENTS, 1, *WAVES.shape[1:])), rng.normal(size=(PATIENTS, *WAVES.shape))
    height, centre, width = np.moveaxis(own + 0.5 * extra, -1, 0)  # (patient, class, wave) each
    size = 0.33 * np.exp(0.3 * rng.normal(size=(PATIENTS, 1, 1)))
    tall = WAVES[..., 0] * np.exp(0.25 * height) + 0.03 * height
    tall *= np.minimum(size, 0.42 / np.abs(tall).max((1, 2), keepdims=True))  # the tallest beat must fit into [0, 1]
    tall[:, 4] *= np.where(rng.random((PATIENTS, 1)) < 0.6, 1, -1)  # V arises in the right ventricle or the left
    late = WAVES[..., 1] + 0.03 * (WAVES[..., 1] - R_PEAK) * centre  # waves near the R peak move little
    wide = WAVES[..., 2] * np.exp(0.12 * width)
    return np.stack([tall, late, wide], axis=-1), 0.43 + 0.05 * rng.normal(size=PATIENTS)


def _beats(
    numbers: Array, pool: Array, patients: tuple[Array, Array], rng: np.random.Generator, plan: BeatPlan
) -> Records:
    """One beat for each identity in `numbers`: a class by the shares, a patient of the pool who has it, a strength.

    Strength 1 is a beat of the class in full, 0 a normal beat.
    """
    n, (table, level) = len(numbers), patients
    y = rng.permutation(np.searchsorted(np.cumsum([*plan.share.values()])[:-1], (np.arange(n) + 0.5) / n))
    person = np.zeros(n, dtype=np.int64)
    for k, letter in enumerate(plan.share):
        having = [p for p in pool if letter in plan.patient_classes[p % len(plan.patient_classes)]]
        person[y == k] = rng.choice(having, int((y == k).sum()))
    strength = np.where(rng.random(n) < INCOMPLETE, rng.random(n), 1.0)[:, None, None]
    row = np.array([SYMBOLS.index(letter) for letter in plan.share])[y]
    waves = (1 - strength) * table[person, 0] + strength * table[person, row]  # (n, wave, 3)
    x = (level[person, None] + _sample(waves, plan.times, rng)).clip(*RANGE).astype(np.float32)
    return Records(torch.from_numpy(x[:, None]), *map(torch.from_numpy, (y, numbers, person)))


def _sample(waves: Array, t: Array, rng: np.random.Generator) -> Array:
    """Samples of the waves at times t, (n, samples), with each beat's jitter, baseline wander and noise."""
    n = len(waves)
    height = waves[..., 0] * np.exp(0.08 * rng.normal(size=(n, 1)) + 0.06 * rng.normal(size=waves.shape[:2]))
    centre = waves[..., 1] + 0.5 * rng.normal(size=(n, 1))
    centre += 0.02 * (centre - R_PEAK) * rng.normal(size=(n, 1))  # a slower or faster heart rate
    x = np.zeros((n, len(t)))
    for w in range(waves.shape[1]):
        x += height[:, w, None] * np.exp(-0.5 * ((t - centre[:, w, None]) / waves[:, w, 2, None]) ** 2)
    level, slope, swing = 0.02 * rng.normal(size=(3, n, 1))
    x += level + slope * (t / SAMPLES - 0.5) + 0.5 * swing * np.sin(2 * np.pi * (t / SAMPLES + rng.random((n, 1))))
    noise = 0.006 * rng.normal(size=(n, len(t) + 2))
    return np.asarray(x + (noise[:, :-2] + noise[:, 1:-1] + noise[:, 2:]) / 3)
