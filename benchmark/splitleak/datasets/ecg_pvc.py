"""ECG heartbeats, PVC or normal (MIT-BIH): 185 samples, 2 classes, 80,494 beats, 42 patients.

Ventricular premature beats (V) against normal ones (N). Lead MLII of the MIT-BIH Arrhythmia Database (Moody & Mark,
2001) at 360 Hz, every record scaled to [0, 1] as a whole, the four paced records left out. 92 samples lie on each side
of the R peak, and no other annotation is nearer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from splitleak.contract import Data, Dataset, Records, Task
from splitleak.contract.errors import BadInput
from splitleak.datasets.ecg import RANGE, SEED, beats_from_arrays
from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.division_by_share import divide_by_person, divide_by_record
from splitleak.datasets.reading.pvc_beats import MARGIN, SYMBOLS, load_or_build
from splitleak.datasets.reading.validation import validate

TASK = Task("classes", len(SYMBOLS))  # N 0, V 1
PARTS = range(3)


@dataclass(frozen=True)
class ECGPVC(Dataset):
    """`patients`: no patient is in two parts; `clean`: no beat is, but every patient's beats are in all three.

    The windows of quickly following beats (6 %) meet at their edges; in `clean` they may fall into different parts.
    80,494 beats, 6,732 of them V. The parts hold 60, 20 and 20 % of them, of which at most n, n / 3 and n / 3 are kept,
    drawn at random in each class; `n` = 100,000 keeps all. The beats of a smaller n are among those of a larger one.
    """

    split: Literal["patients", "clean"] = "patients"
    n: Annotated[int, Field(ge=500)] = 20_000  # private beats at most: an epoch of seconds on two cores
    draw: Annotated[int, Field(ge=0)] = 0  # another number divides the patients and draws the beats anew

    def load(self) -> Data:
        found = load_or_build()
        who = f"dataset '{self}' ({found.file})"
        beats = _check_beats(beats_from_arrays(found.arrays, found.file, TASK), found.file)
        y, order = beats.y.numpy(), np.random.default_rng(SEED + self.draw).random(len(beats))
        part = self._by_patient(beats, who) if self.split == "patients" else divide_by_record(y, order, TASK.size)
        kept = (_draw_beats(y, part == p, order, self.n if p == 0 else self.n // 3) for p in PARTS)
        private, aux, test = (beats.take(torch.from_numpy(rows)) for rows in kept)
        flags = () if self.split == "patients" else ("patients-shared",)
        return validate(Data(private, aux, test, TASK, RANGE, flags, found.notes), who)

    def _by_patient(self, beats: Records, who: str) -> Array:
        if beats.group is None:
            raise BadInput(f"{who}: split 'patients' needs the array record, which is not in this file")
        return divide_by_person(beats.group.numpy(), beats.y.numpy(), TASK.size, who, SEED + self.draw)


def _check_beats(beats: Records, file: Path) -> Records:
    if beats.x.shape[2] != (samples := 2 * MARGIN + 1):
        raise BadInput(f"{file}: beats of {beats.x.shape[2]} samples; must be {samples}")
    if repeated := len(beats) - len(beats.id.unique()):
        raise BadInput(f"{file}: {repeated} beats have the record and rpeak of another one; each beat may occur once")
    return beats


def _draw_beats(y: Array, in_part: Array, order: Array, n: int) -> Array:
    """Indices of at most n beats of a part, with the part's proportions of the classes."""
    rows = np.flatnonzero(in_part)
    share = min(1.0, n / max(len(rows), 1))
    classes = (rows[y[rows] == k] for k in range(TASK.size))
    drawn = [own[np.argsort(order[own])[: round(share * len(own))]] for own in classes]
    return np.sort(np.concatenate(drawn))
