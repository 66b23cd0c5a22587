"""Chest X-rays of adults with lung masks (Winther et al.): 76 grey images.

They are the auxiliary data of an attacker on `cxr_lung` who has another population. 73 of the 76 are from the Hannover
COVID-19 repository (doi 10.6084/m9.figshare.12275009), most patients in more than one image. The patient of each image
is in that repository's data.csv; without this file the parts may share patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splitleak.contract import Data, Dataset, Task
from splitleak.datasets.reading.array_files import read_csv
from splitleak.datasets.reading.division_by_person import Manifest
from splitleak.datasets.reading.image_index import images_in, images_with_masks, rows_with_image, stem
from splitleak.datasets.reading.image_records import ImageSet, Size, data_from_files
from splitleak.datasets.reading.locate import data_folders, find_layout

PATIENTS = ("cxr_lung_adult/data.csv", "hannover_original/data.csv", "layouts/hannover_original/data.csv")


@dataclass(frozen=True)
class CXRLungAdult(Dataset):
    """meta.csv with file and source_image, beside images/ and masks/; a fifth of the patients is the test part."""

    size: Size = 64  # pixels; must be the victim's

    def load(self) -> Data:
        _, meta = find_layout("cxr_lung_adult", {"prepared": ("cxr_lung_adult/meta.csv",)})
        who, folder = f"dataset '{self}' ({meta})", meta.parent / "images"
        rows = read_csv(meta, ("file", "source_image"))
        present, notes = rows_with_image([row["file"] for row in rows], images_in(folder), meta, who)
        files, mask_notes = images_with_masks(folder, [meta.parent / "masks"], who)
        by_name = {f.image.stem: f for f in files}
        rows = [rows[i] for i in present if stem(rows[i]["file"]) in by_name]
        known = _patients(meta)
        names = [row["file"] for row in rows]
        patient = [known.get(stem(row["source_image"]), row["file"]) for row in rows] if known else None
        flags = () if known else ("patients-shared",)
        manifest = Manifest(names, np.zeros(len(names), np.int64), patient)
        images = ImageSet(manifest, Task("mask", 1), who, None, flags, notes + mask_notes)
        return data_from_files(images, [by_name[stem(name)] for name in names], self.size, 1)


def _patients(meta: Path) -> dict[str, str]:
    """Name of an image: its patient, from the repository's data.csv; empty if that is not found."""
    for place in [meta.parents[1], *data_folders()]:
        for file in PATIENTS:
            if (place / file).is_file():
                rows = read_csv(place / file, ("image_id", "patient_id"))
                return {row["image_id"]: row["patient_id"] for row in rows}
    return {}
