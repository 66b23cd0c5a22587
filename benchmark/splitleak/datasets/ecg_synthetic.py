"""Heartbeats as sums of Gaussian waves, of 50 simulated patients who each carry their own shapes: no download.

Sums of Gaussians: McSharry et al., IEEE Trans. Biomed. Eng. 50(3):289-294 (2003). Shape, classes and proportions are
those of `ecg`: 128 samples, 4.3 ms each, the R peak at 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field

from splitleak.contract import Data, Dataset, Records, Task
from splitleak.datasets.ecg import BEATS, RANGE, Beat, against_rest
from splitleak.datasets.reading.check import checked
from splitleak.datasets.reading.folder import Array

PATIENTS, SAMPLES, R_PEAK, SEED = 50, 128, 64, 2003
INCOMPLETE = 0.22  # of the beats that are not N: between N and their class (fusion beats, incomplete blocks)

# A row a class; height (the R peak of N is 1), centre and width of: the T before, P, Q, R, R', S, T.
WAVES = np.array([
    [[0.0, -4, 8], [0.15, 27, 5], [-0.10, 59, 1.6], [1.0, 64, 2.6], [0.0, 70, 2.5], [-0.22, 69, 2.2], [0.30, 124, 15]],
    [[0.0, -4, 8], [0.12, 22, 5], [0.0, 57, 2.5], [0.75, 61, 4.2], [0.65, 69, 4.0], [-0.15, 80, 5], [-0.15, 110, 15]],
    [[0.0, -4, 8], [0.13, 25, 5], [-0.06, 58, 1.8], [0.85, 63, 2.5], [0.40, 71, 2.6], [-0.55, 78, 5], [0.22, 124, 15]],
    [[0.22, 4, 9], [-0.08, 35, 4], [-0.08, 59, 1.6], [0.9, 64, 2.6], [0.0, 70, 2.5], [-0.24, 69, 2.2], [0.25, 120, 14]],
    [[0.05, 0, 9], [0.0, 27, 5], [0.0, 54, 3.0], [1.1, 62, 6.5], [0.35, 72, 6.0], [-0.4, 88, 9], [-0.6, 106, 15]],
])  # fmt: skip


class Clinic(NamedTuple):
    """Which beats are drawn of the patients, and how they are sampled."""

    share: dict[Beat, float]  # of each class; y counts them
    have: tuple[str, ...]  # the classes of patient 0, 1, ..., and from the first again
    at: Array  # (samples,) the time of each, in the unit of WAVES


FIVE = Clinic(
    {"N": 3000 / 13245, "L": 3000 / 13245, "R": 3000 / 13245, "A": 1245 / 13245, "V": 3000 / 13245},  # as in `ecg`
    ("NAV", "NV", "NA", "LV", "RA"),
    np.arange(SAMPLES),
)


@dataclass(frozen=True)
class ECGSynthetic(Dataset):
    """`clean`: every patient in every part; `patients`: 30 are private, 10 auxiliary, 10 test."""

    n: Annotated[int, Field(ge=500, le=200_000)] = 4000  # private beats; auxiliary and test get a third of it each
    split: Literal["clean", "patients"] = "clean"
    positive: Beat | None = None  # this class against the rest

    def load(self) -> Data:
        data = simulated(self.n, self.split, FIVE)
        return checked(against_rest(data, self.positive), f"dataset '{self}'")


def simulated(n: int, split: Literal["clean", "patients"], clinic: Clinic) -> Data:
    """n private beats, a third of it in each other part, of one clinic's patients, who are always the same 50."""
    rng = np.random.default_rng(SEED)
    patients = _patients(rng)
    everyone = np.arange(PATIENTS)
    pools = np.split(everyone, [30, 40]) if split == "patients" else [everyone] * 3
    third = n // 3
    numbers = np.split(np.arange(n + 2 * third), [n, n + third])
    private, aux, test = (_beats(i, pool, patients, rng, clinic) for i, pool in zip(numbers, pools, strict=True))
    flags = () if split == "patients" else ("patients-shared",)
    return Data(private, aux, test, Task("classes", len(clinic.share)), RANGE, flags)


def _patients(rng: np.random.Generator) -> tuple[Array, Array]:
    """Waves, (patient, class, wave, 3), and baselines: one stretch of a patient for all classes, more for each."""
    own, extra = rng.normal(size=(PATIENTS, 1, *WAVES.shape[1:])), rng.normal(size=(PATIENTS, *WAVES.shape))
    height, centre, width = np.moveaxis(own + 0.5 * extra, -1, 0)  # (patient, class, wave) each
    size = 0.33 * np.exp(0.3 * rng.normal(size=(PATIENTS, 1, 1)))
    tall = WAVES[..., 0] * np.exp(0.25 * height) + 0.03 * height
    tall *= np.minimum(size, 0.42 / np.abs(tall).max((1, 2), keepdims=True))  # the tallest beat fits into [0, 1]
    tall[:, 4] *= np.where(rng.random((PATIENTS, 1)) < 0.6, 1, -1)  # V from the right ventricle or the left
    late = WAVES[..., 1] + 0.03 * (WAVES[..., 1] - R_PEAK) * centre  # near the R peak little moves
    wide = WAVES[..., 2] * np.exp(0.12 * width)
    return np.stack([tall, late, wide], axis=-1), 0.43 + 0.05 * rng.normal(size=PATIENTS)


def _beats(
    numbers: Array, pool: Array, patients: tuple[Array, Array], rng: np.random.Generator, clinic: Clinic
) -> Records:
    """One beat for each number: a class by its fraction, a patient of the pool who has that class, and strength."""
    n, (table, level) = len(numbers), patients
    y = rng.permutation(np.searchsorted(np.cumsum([*clinic.share.values()])[:-1], (np.arange(n) + 0.5) / n))
    person = np.zeros(n, dtype=np.int64)
    for k, letter in enumerate(clinic.share):
        having = [p for p in pool if letter in clinic.have[p % len(clinic.have)]]
        person[y == k] = rng.choice(having, int((y == k).sum()))
    strength = np.where(rng.random(n) < INCOMPLETE, rng.random(n), 1.0)[:, None, None]
    row = np.array([BEATS.index(letter) for letter in clinic.share])[y]
    waves = (1 - strength) * table[person, 0] + strength * table[person, row]  # (n, wave, 3)
    x = (level[person, None] + _draw(waves, clinic.at, rng)).clip(*RANGE).astype(np.float32)
    return Records(torch.from_numpy(x[:, None]), *map(torch.from_numpy, (y, numbers, person)))


def _draw(waves: Array, t: Array, rng: np.random.Generator) -> Array:
    """Waves to samples at t, (n, samples), with this beat's jitter, wander of the baseline and noise."""
    n = len(waves)
    height = waves[..., 0] * np.exp(0.08 * rng.normal(size=(n, 1)) + 0.06 * rng.normal(size=waves.shape[:2]))
    centre = waves[..., 1] + 0.5 * rng.normal(size=(n, 1))
    centre += 0.02 * (centre - R_PEAK) * rng.normal(size=(n, 1))  # slower or faster
    x = np.zeros((n, len(t)))
    for w in range(waves.shape[1]):
        x += height[:, w, None] * np.exp(-0.5 * ((t - centre[:, w, None]) / waves[:, w, 2, None]) ** 2)
    level, slope, swing = 0.02 * rng.normal(size=(3, n, 1))
    x += level + slope * (t / SAMPLES - 0.5) + 0.5 * swing * np.sin(2 * np.pi * (t / SAMPLES + rng.random((n, 1))))
    noise = 0.006 * rng.normal(size=(n, len(t) + 2))
    return np.asarray(x + (noise[:, :-2] + noise[:, 1:-1] + noise[:, 2:]) / 3)
