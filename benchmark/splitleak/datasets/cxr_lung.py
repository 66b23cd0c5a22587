"""Chest X-rays with lung masks, grey, each patient in one part only.

Layouts: `prepared` (meta.csv with file, split, patient and pneumonia beside images/ and masks/), `pack` (the same at
64 x 64 in one npz), `kaggle` (Lung Segmentation/CXR_png and masks, names with or without _mask), `montgomery`
(MontgomerySet: left and right masks joined) and `shenzhen` (ChinaSet_AllFiles with the separate masks). Of the last
three each name is a patient: Jaeger et al., Quant. Imaging Med. Surg. 4(6):475-477 (2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from splitleak.contract import Data, Dataset, Task
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.divide import Roll
from splitleak.datasets.reading.folder import Array, Layouts, find_layout, npz, table
from splitleak.datasets.reading.images import Size, at_most, from_arrays, from_files
from splitleak.datasets.reading.listing import Files, index, listed, masked, stem

PREPARED, PACK = "cxr_lung/meta.csv", ("packs64/cxr_lung_64.npz", "cxr_lung_64.npz")
LAYOUTS: Layouts = {
    "prepared": (PREPARED,),
    "kaggle": ("Lung Segmentation/CXR_png",),
    "montgomery": ("MontgomerySet/CXR_png",),
    "shenzhen": ("ChinaSet_AllFiles/CXR_png",),
    "pack": PACK,
}
MASKS = {  # folders of masks beside CXR_png, the first that is there; those in one row are joined
    "kaggle": (("../masks",),),
    "montgomery": (("../ManualMask/leftMask", "../ManualMask/rightMask"),),
    "shenzhen": (("../../mask/mask",), ("../../mask",), ("../mask",), ("../masks",)),
}
TASK = Task("mask", 1)


@dataclass(frozen=True)
class CXRLung(Dataset):
    """Private 60 %, auxiliary 40 % of the official training patients; without any, a fifth of all is the test part."""

    size: Size = 64  # pixels
    layout: Literal["prepared", "kaggle", "montgomery", "shenzhen", "pack"] | None = None  # None: the first found

    def load(self) -> Data:
        layout, mark = find_layout("cxr_lung", LAYOUTS, self.layout)
        who = f"dataset '{self}' ({mark})"
        if layout == "pack":
            roll, x, mask = packed(mark)
            return from_arrays(roll, x, at_most(self.size, x, who), TASK, who, mask)
        roll, files, notes = prepared(mark, who, masks=True) if layout == "prepared" else beside(layout, mark, who)
        return from_files(roll, files, self.size, 1, TASK, who, notes=notes)


def prepared(meta: Path, who: str, masks: bool) -> tuple[Roll, list[Files], tuple[str, ...]]:
    """The rows of meta.csv whose image is there; label 1 is pneumonia."""
    rows = table(meta, ("file", "split", "patient", "pneumonia"))
    for row in rows:
        if row["split"] not in ("train", "test") or row["pneumonia"] not in ("0", "1"):
            had = f"split '{row['split']}', pneumonia '{row['pneumonia']}'"
            raise BadInput(f"{meta}: {row['file']} has {had}; legal: train or test, 0 or 1")
    there, notes = listed([row["file"] for row in rows], index(meta.parent / "images"), meta, who)
    rows = [rows[i] for i in there]
    files, bare = masked(meta.parent / "images", [[meta.parent / "masks"]] if masks else [], who)
    by_name = {f.image.stem: f for f in files}
    rows = [row for row in rows if stem(row["file"]) in by_name]
    label = np.array([int(row["pneumonia"]) for row in rows], np.int64)
    test = np.array([row["split"] == "test" for row in rows])
    roll = Roll([row["file"] for row in rows], label, [row["patient"] or row["file"] for row in rows], test)
    return roll, [by_name[stem(row["file"])] for row in rows], notes + bare


def beside(layout: str, images: Path, who: str) -> tuple[Roll, list[Files], tuple[str, ...]]:
    """A folder of images with one or two folders of masks: every name a patient, no test part."""
    choices = [[(images / f).resolve() for f in row] for row in MASKS[layout]]
    usable = [row for row in choices if all(folder.is_dir() for folder in row)]
    if not usable:
        raise BadInput(f"{who}: no folder of masks {' or '.join(' with '.join(map(str, row)) for row in choices)}")
    files, notes = masked(images, usable[:1], who)
    names = [f.image.stem for f in files]
    return Roll(names, np.zeros(len(names), np.int64), names), files, notes


def packed(file: Path) -> tuple[Roll, Array, Array]:
    """Roll, images (n, 64, 64) and masks of the npz, whose masks are rows of bits; its label 0 is normal."""
    raw = npz(file, {"images": 3, "masks": 2, "label": 1, "is_test": 1, "patient": 1})
    side = raw["images"].shape[1]
    if len({len(a) for a in raw.values()}) > 1 or raw["masks"].shape[1] * 8 != side * raw["images"].shape[2]:
        had = ", ".join(f"{name} {a.shape}" for name, a in raw.items())
        raise BadInput(f"{file}: {had}; wanted one row for each image, a bit of mask for each pixel")
    names = [f"{file.stem} {i}" for i in range(len(raw["images"]))]
    label = (raw["label"] > 0).astype(np.int64)
    roll = Roll(names, label, raw["patient"].astype(str).tolist(), raw["is_test"].astype(bool))
    return roll, raw["images"], np.unpackbits(raw["masks"], axis=1).reshape(raw["images"].shape)
