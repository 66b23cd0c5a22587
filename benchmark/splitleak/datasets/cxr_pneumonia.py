"""Chest X-rays of children (Kermany et al. 2018): normal or pneumonia, 800 grey images.

Cell 172(5):1122-1131. No patient is in two parts. Layouts: `prepared` and `pack` are the X-rays of `cxr_lung`, in the
same parts: 800 images; `original` is the published folder chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}, in which
`val` is read as training data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from splitleak.contract import Data, Dataset, Task
from splitleak.datasets.cxr_lung import PACK, PREPARED, read_pack, read_prepared
from splitleak.datasets.reading.division_by_person import Manifest
from splitleak.datasets.reading.image_index import ImageFiles, ImageListing, images_in
from splitleak.datasets.reading.image_records import (
    ImageSet,
    Size,
    check_not_enlarged,
    data_from_arrays,
    data_from_files,
)
from splitleak.datasets.reading.locate import Layouts, find_layout

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
        layout, marker = find_layout("cxr_pneumonia", LAYOUTS, self.layout)
        who = f"dataset '{self}' ({marker})"
        if layout == "pack":
            manifest, x, _ = read_pack(marker)
            return data_from_arrays(ImageSet(manifest, TASK, who, self.n), x, check_not_enlarged(self.size, x, who))
        prepared = layout == "prepared"
        images = read_prepared(marker, who, masks=False) if prepared else _read_original(marker.parents[1])
        manifest, files, notes = images
        return data_from_files(ImageSet(manifest, TASK, who, self.n, notes=notes), files, self.size, 1)


def _read_original(folder: Path) -> ImageListing:
    """The published folders. The test folder has patient numbers of its own: it was collected separately."""
    names, label, patient, test, files = [], [], [], [], []
    for part in ("train", "val", "test"):
        for k, kind in enumerate(("NORMAL", "PNEUMONIA")):
            place = folder / part / kind
            if part == "val" and not place.is_dir():  # 16 images; some copies lack this folder
                continue
            for name, file in images_in(place).items():
                known = PATIENT.match(name)
                numbering = "test" if part == "test" else "train"
                names.append(f"{part}/{name}")
                label.append(k)
                patient.append(f"{numbering}/{known[1] if known else name}")
                test.append(part == "test")
                files.append(ImageFiles(file))
    return Manifest(names, np.array(label, np.int64), patient, np.array(test)), files, ()
