"""Chest X-rays of children, normal or pneumonia, grey, each patient in one part only.

Kermany et al., Cell 172(5):1122-1131 (2018). Layouts: `prepared` and `pack` are the X-rays of `cxr_lung`, in the same
parts; `original` is the published folder chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}, `val` read as training data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from splitleak.contract import Data, Dataset, Task
from splitleak.datasets.cxr_lung import PACK, PREPARED, packed, prepared
from splitleak.datasets.reading.divide import Roll
from splitleak.datasets.reading.folder import Layouts, find_layout
from splitleak.datasets.reading.images import Size, at_most, from_arrays, from_files
from splitleak.datasets.reading.listing import Files, index

LAYOUTS: Layouts = {"prepared": (PREPARED,), "original": ("chest_xray/train/NORMAL",), "pack": PACK}
TASK = Task("classes", 2)
PATIENT = re.compile(r"(person\d+|(?:NORMAL2-)?IM-\d+)[-_]")


@dataclass(frozen=True)
class CXRPneumonia(Dataset):
    """Class 1 is pneumonia."""

    size: Size = 64  # pixels
    layout: Literal["prepared", "original", "pack"] | None = None  # None: the first found
    n: Annotated[int, Field(ge=20)] | None = None  # at most so many private records; None: all

    def load(self) -> Data:
        layout, mark = find_layout("cxr_pneumonia", LAYOUTS, self.layout)
        who = f"dataset '{self}' ({mark})"
        if layout == "pack":
            roll, x, _ = packed(mark)
            return from_arrays(roll, x, at_most(self.size, x, who), TASK, who, n=self.n)
        roll, files, notes = prepared(mark, who, masks=False) if layout == "prepared" else _original(mark.parents[1])
        return from_files(roll, files, self.size, 1, TASK, who, self.n, notes)


def _original(folder: Path) -> tuple[Roll, list[Files], tuple[str, ...]]:
    """Patient numbers of the test folder are its own: it was collected, and numbered, apart."""
    names, label, patient, test, files = [], [], [], [], []
    for part in ("train", "val", "test"):
        for k, kind in enumerate(("NORMAL", "PNEUMONIA")):
            place = folder / part / kind
            if part == "val" and not place.is_dir():  # left away by some copies: 16 images
                continue
            for name, file in index(place).items():
                known = PATIENT.match(name)
                whose = "test" if part == "test" else "train"
                names.append(f"{part}/{name}")
                label.append(k)
                patient.append(f"{whose}/{known[1] if known else name}")
                test.append(part == "test")
                files.append(Files(file))
    return Roll(names, np.array(label, np.int64), patient, np.array(test)), files, ()
