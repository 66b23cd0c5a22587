"""Single heartbeats, ventricular premature (V) against normal (N), of 42 real patients: 185 samples around the R peak.

Lead MLII of the MIT-BIH Arrhythmia Database (Moody & Mark, 2001) at 360 Hz, every record scaled to [0, 1] as a whole,
the four paced records left out. 92 samples lie on either side of the R peak, and no other annotation is nearer.
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
from splitleak.datasets.ecg import RANGE, SEED, SHARES, by_patient, records
from splitleak.datasets.reading.check import checked
from splitleak.datasets.reading.folder import Array
from splitleak.datasets.reading.premature import KINDS, REACH, at_hand

TASK = Task("classes", len(KINDS))  # N 0, V 1
PARTS = range(3)


@dataclass(frozen=True)
class ECGPVC(Dataset):
    """`patients`: nobody is in two parts; `clean`: no beat is, but everybody's beats are in all three.

    The windows of quick neighbours (6 %) meet at their edges; in `clean` they may fall to different parts.
    80,494 beats, 6,732 of them V. Of the 60, 20 and 20 % that fall to private, auxiliary and test part no more than
    n, n / 3 and n / 3 are kept, drawn by lot in each class; `n` = 100,000 keeps all. A smaller n is part of a larger.
    """

    split: Literal["patients", "clean"] = "patients"
    n: Annotated[int, Field(ge=500)] = 20_000  # private beats at most: an epoch of seconds on two cores
    draw: Annotated[int, Field(ge=0)] = 0  # another one deals patients and draws beats anew

    def load(self) -> Data:
        found = at_hand()
        who = f"dataset '{self}' ({found.file})"
        beats = _sound(records(found.arrays, found.file, TASK), found.file)
        lot = np.random.default_rng(SEED + self.draw).random(len(beats))
        part = self._by_patient(beats, who) if self.split == "patients" else _by_lot(beats.y.numpy(), lot)
        kept = (_kept(beats.y.numpy(), part == p, lot, self.n if p == 0 else self.n // 3) for p in PARTS)
        private, aux, test = (beats.take(torch.from_numpy(rows)) for rows in kept)
        flags = () if self.split == "patients" else ("patients-shared",)
        return checked(Data(private, aux, test, TASK, RANGE, flags, found.notes), who)

    def _by_patient(self, beats: Records, who: str) -> Array:
        if beats.group is None:
            raise BadInput(f"{who}: no patients in it")
        return by_patient(beats.group, beats.y, TASK, who, SEED + self.draw)


def _sound(beats: Records, file: Path) -> Records:
    if beats.x.shape[2] != (wanted := 2 * REACH + 1):
        raise BadInput(f"{file}: beats of {beats.x.shape[2]} samples, wanted {wanted}")
    if again := len(beats) - len(beats.id.unique()):
        raise BadInput(f"{file}: {again} beats have the record and rpeak of another one; wanted each beat once")
    return beats


def _by_lot(y: Array, lot: Array) -> Array:
    """Each beat's part: in the order of the lots, every class is cut at the shares."""
    part = np.zeros(len(y), np.int64)
    for k in range(TASK.size):
        rows = np.flatnonzero(y == k)
        depth = (np.argsort(np.argsort(lot[rows])) + 0.5) / max(len(rows), 1)
        part[rows] = np.digitize(depth, np.cumsum(SHARES)[:-1])
    return part


def _kept(y: Array, mine: Array, lot: Array, n: int) -> Array:
    """Positions of at most n beats of a part, with its proportions of the classes."""
    rows = np.flatnonzero(mine)
    share = min(1.0, n / max(len(rows), 1))
    classes = (rows[y[rows] == k] for k in range(TASK.size))
    drawn = [own[np.argsort(lot[own])[: round(share * len(own))]] for own in classes]
    return np.sort(np.concatenate(drawn))
