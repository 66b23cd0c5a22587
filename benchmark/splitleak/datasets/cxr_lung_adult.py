"""Adult chest X-rays with lung masks: the shifted population that an attacker on `cxr_lung` may own instead.

73 of 76 from the Hannover COVID-19 repository (Winther et al., doi 10.6084/m9.figshare.12275009), most patients seen
more than once. Whose image is whose stands in that repository's data.csv; without it the parts may share patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splitleak.contract import Data, Dataset, Task
from splitleak.datasets.reading.divide import Roll
from splitleak.datasets.reading.folder import find_layout, folders, table
from splitleak.datasets.reading.images import Size, from_files
from splitleak.datasets.reading.listing import index, listed, masked, stem

PATIENTS = ("cxr_lung_adult/data.csv", "hannover_original/data.csv", "layouts/hannover_original/data.csv")


@dataclass(frozen=True)
class CXRLungAdult(Dataset):
    """meta.csv with file and source_image beside images/ and masks/; a fifth of the patients is the test part."""

    size: Size = 64  # pixels, as the victim's

    def load(self) -> Data:
        _, meta = find_layout("cxr_lung_adult", {"prepared": ("cxr_lung_adult/meta.csv",)})
        who = f"dataset '{self}' ({meta})"
        rows = table(meta, ("file", "source_image"))
        there, notes = listed([row["file"] for row in rows], index(meta.parent / "images"), meta, who)
        files, bare = masked(meta.parent / "images", [[meta.parent / "masks"]], who)
        by_name = {f.image.stem: f for f in files}
        rows = [rows[i] for i in there if stem(rows[i]["file"]) in by_name]
        known = _patients(meta)
        names = [row["file"] for row in rows]
        patient = [known.get(stem(row["source_image"]), row["file"]) for row in rows] if known else None
        flags = () if known else ("patients-shared",)
        roll = Roll(names, np.zeros(len(names), np.int64), patient)
        found = [by_name[stem(name)] for name in names]
        return from_files(roll, found, self.size, 1, Task("mask", 1), who, notes=notes + bare, flags=flags)


def _patients(meta: Path) -> dict[str, str]:
    """Image to patient, where the repository's table is at hand."""
    for place in [meta.parents[1], *folders()]:
        for file in PATIENTS:
            if (place / file).is_file():
                return {row["image_id"]: row["patient_id"] for row in table(place / file, ("image_id", "patient_id"))}
    return {}
