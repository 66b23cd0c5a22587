"""Chest X-rays with lung masks (Kermany et al. 2018; Jaeger et al. 2014): 800 grey images.

No patient is in two parts. The 800 images are the prepared set, of children; other layouts have another number.
Layouts: `prepared` (meta.csv with file, split, patient and pneumonia, beside images/ and masks/), `pack` (the same at
64 x 64 in one npz), `kaggle` (Lung Segmentation/CXR_png and masks, names with or without _mask), `montgomery`
(MontgomerySet: left and right masks joined) and `shenzhen` (ChinaSet_AllFiles with the separate masks). In the last
three each file name counts as a patient: Jaeger et al., Quant. Imaging Med. Surg. 4(6):475-477 (2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from splitleak.contract import Data, Dataset, Task, later
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.array_files import Array, read_csv, read_npz
from splitleak.datasets.reading.division_by_person import Manifest
from splitleak.datasets.reading.image_index import ImageListing, images_in, images_with_masks, rows_with_image, stem
from splitleak.datasets.reading.image_records import (
    ImageSet,
    Size,
    check_not_enlarged,
    data_from_arrays,
    data_from_files,
)
from splitleak.datasets.reading.locate import Layouts, find_layout

PREPARED, PACK = "cxr_lung/meta.csv", ("packs64/cxr_lung_64.npz", "cxr_lung_64.npz")
LAYOUTS: Layouts = {
    "prepared": (PREPARED,),
    "kaggle": ("Lung Segmentation/CXR_png",),
    "montgomery": ("MontgomerySet/CXR_png",),
    "shenzhen": ("ChinaSet_AllFiles/CXR_png",),
    "pack": PACK,
}
MASKS = {  # mask folders relative to CXR_png: the first row that exists; the masks of one row are joined
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
    property: Literal["pneumonia"] | None = later(None)  # in the layouts prepared and pack

    def load(self) -> Data:
        layout, marker = find_layout("cxr_lung", LAYOUTS, self.layout)
        who = f"dataset '{self}' ({marker})"
        named = self.property is not None
        if named and layout not in ("prepared", "pack"):
            raise BadInput(f"{who}: the layout {layout} does not tell pneumonia (legal: prepared, pack)")
        if layout == "pack":
            manifest, x, mask = read_pack(marker)
            return data_from_arrays(
                ImageSet(manifest, TASK, who, property=named), x, check_not_enlarged(self.size, x, who), mask
            )
        prepared = layout == "prepared"
        images = read_prepared(marker, who, masks=True) if prepared else _read_folders(layout, marker, who)
        manifest, files, notes = images
        return data_from_files(ImageSet(manifest, TASK, who, notes=notes, property=named), files, self.size, 1)


def read_prepared(meta: Path, who: str, masks: bool) -> ImageListing:
    """The rows of meta.csv that have an image; label 1 is pneumonia."""
    rows = read_csv(meta, ("file", "split", "patient", "pneumonia"))
    for row in rows:
        if row["split"] not in ("train", "test") or row["pneumonia"] not in ("0", "1"):
            values = f"split '{row['split']}', pneumonia '{row['pneumonia']}'"
            raise BadInput(f"{meta}: {row['file']} has {values}; legal: train or test, 0 or 1")
    folder = meta.parent / "images"
    present, notes = rows_with_image([row["file"] for row in rows], images_in(folder), meta, who)
    rows = [rows[i] for i in present]
    files, mask_notes = images_with_masks(folder, [meta.parent / "masks"] if masks else [], who)
    by_name = {f.image.stem: f for f in files}
    rows = [row for row in rows if stem(row["file"]) in by_name]
    label = np.array([int(row["pneumonia"]) for row in rows], np.int64)
    test = np.array([row["split"] == "test" for row in rows])
    manifest = Manifest([row["file"] for row in rows], label, [row["patient"] or row["file"] for row in rows], test)
    return manifest, [by_name[stem(row["file"])] for row in rows], notes + mask_notes


def _read_folders(layout: str, images: Path, who: str) -> ImageListing:
    """A folder of images with one or two folders of masks: each file name is a patient, no official test part."""
    choices = [[(images / f).resolve() for f in row] for row in MASKS[layout]]
    usable = [row for row in choices if all(folder.is_dir() for folder in row)]
    if not usable:
        raise BadInput(f"{who}: no folder of masks {' or '.join(' with '.join(map(str, row)) for row in choices)}")
    files, notes = images_with_masks(images, usable[0], who)
    names = [f.image.stem for f in files]
    return Manifest(names, np.zeros(len(names), np.int64), names), files, notes


def read_pack(file: Path) -> tuple[Manifest, Array, Array]:
    """Records, images (n, 64, 64) and masks of the npz file, which stores masks as rows of bits; label 0 is normal."""
    raw = read_npz(file, {"images": 3, "masks": 2, "label": 1, "is_test": 1, "patient": 1})
    side = raw["images"].shape[1]
    if len({len(a) for a in raw.values()}) > 1 or raw["masks"].shape[1] * 8 != side * raw["images"].shape[2]:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in raw.items())
        raise BadInput(f"{file}: {shapes}; each image needs one row, each pixel one bit of its mask")
    names = [f"{file.stem} {i}" for i in range(len(raw["images"]))]
    label = (raw["label"] > 0).astype(np.int64)
    manifest = Manifest(names, label, raw["patient"].astype(str).tolist(), raw["is_test"].astype(bool))
    return manifest, raw["images"], np.unpackbits(raw["masks"], axis=1).reshape(raw["images"].shape)
