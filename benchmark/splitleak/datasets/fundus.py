"""Retinal photographs, RGB, with grades 0-4 (IDRiD, Porwal et al. 2018): 516 images.

Grades of diabetic retinopathy: none against referable, or all five. Layouts: `prepared` (labels.csv with file, split
and grade, beside images/), `pack` (the same at 64 x 64 in one npz) and `idrid` (B. Disease Grading as published) are
IDRiD, Data 3(3):25, which does not name patients; `kaggle` is the resized EyePACS set (trainLabels*.csv with
resized_train*), where 10_left and 10_right are one patient.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from splitleak.contract import Data, Dataset, Task
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.array_files import Array, read_csv, read_npz
from splitleak.datasets.reading.division_by_person import Manifest
from splitleak.datasets.reading.image_index import ImageFiles, ImageListing, images_in, rows_with_image, stem
from splitleak.datasets.reading.image_records import (
    ImageSet,
    Size,
    check_not_enlarged,
    data_from_arrays,
    data_from_files,
)
from splitleak.datasets.reading.locate import Layouts, find_layout

LAYOUTS: Layouts = {
    "prepared": ("fundus_idrid/labels.csv", "fundus/labels.csv"),
    "idrid": ("B. Disease Grading/2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv",),
    "kaggle": ("trainLabels.csv", "trainLabels_cropped.csv", "trainLabels_Binary.csv"),
    "pack": ("packs64/fundus_idrid_64.npz", "fundus_idrid_64.npz"),
}
IDRID = (
    ("1. Original Images/a. Training Set", "2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv"),
    ("1. Original Images/b. Testing Set", "2. Groundtruths/b. IDRiD_Disease Grading_Testing Labels.csv"),
)
KAGGLE = {
    "trainLabels.csv": ("resized_train", "resized_train_cropped"),
    "trainLabels_cropped.csv": ("resized_train_cropped", "resized_train"),
    "trainLabels_Binary.csv": ("resized_train", "resized_train_cropped"),
}
EYE = re.compile(r"(.+)_(left|right)$", re.IGNORECASE)
Classes = Literal["binary", "all"]


@dataclass(frozen=True)
class Fundus(Dataset):
    """`binary`: grade 0 against 2 and more, without grade 1; `all`: five classes."""

    size: Size = 64  # pixels
    classes: Classes = "binary"
    layout: Literal["prepared", "idrid", "kaggle", "pack"] | None = None  # None: the first found
    n: Annotated[int, Field(ge=20)] | None = None  # at most so many private records; None: all

    def load(self) -> Data:
        layout, marker = find_layout("fundus", LAYOUTS, self.layout)
        who, task = f"dataset '{self}' ({marker})", task_of(self.classes)
        if layout == "pack":
            raw = read_npz(marker, {"images": 4, "grade": 1, "is_test": 1})
            names = [f"{marker.stem} {i}" for i in range(len(raw["grade"]))]
            manifest = Manifest(names, raw["grade"].astype(np.int64), None, raw["is_test"].astype(bool))
            rows, manifest = grades_to_classes(manifest, self.classes)
            x = raw["images"]
            size = check_not_enlarged(self.size, x, who)
            return data_from_arrays(ImageSet(manifest, task, who, self.n), x[rows], size)
        read = {"prepared": _read_prepared, "idrid": _read_idrid, "kaggle": _read_kaggle}[layout]
        graded, files, notes = read(marker, who, self.classes)
        rows, manifest = grades_to_classes(graded, self.classes)
        files = [files[i] for i in rows]
        return data_from_files(ImageSet(manifest, task, who, self.n, notes=notes), files, self.size, 3)


def task_of(classes: Classes) -> Task:
    return Task("classes", 2 if classes == "binary" else 5)


def grades_to_classes(manifest: Manifest, classes: Classes) -> tuple[Array, Manifest]:
    """The rows that are used, and their manifest with classes in place of grades."""
    rows = np.flatnonzero(manifest.label != 1) if classes == "binary" else np.arange(len(manifest.label))
    kept = manifest.take(rows)
    label = (kept.label >= 2).astype(np.int64) if classes == "binary" else kept.label
    return rows, Manifest(kept.name, label, kept.patient, kept.test)


def _read_prepared(labels: Path, who: str, classes: Classes) -> ImageListing:
    rows, found = read_csv(labels, ("file", "split", "grade")), images_in(labels.parent / "images")
    present, notes = rows_with_image([row["file"] for row in rows], found, labels, who)
    rows = [rows[i] for i in present]
    if bad := [row for row in rows if row["split"] not in ("train", "test")]:
        raise BadInput(f"{labels}: {bad[0]['file']} has split '{bad[0]['split']}'; legal: train, test")
    names = [row["file"] for row in rows]
    grades = np.array([_grade(row["grade"], row["file"], labels) for row in rows], np.int64)
    manifest = Manifest(names, grades, None, np.array([row["split"] == "test" for row in rows]))
    return manifest, [ImageFiles(found[stem(name)]) for name in names], notes


def _read_idrid(marker: Path, who: str, classes: Classes) -> ImageListing:
    """Both halves; IDRiD_001 exists in each, so that a record's name begins with its half."""
    names, grades, test, files = [], [], [], []
    notes: tuple[str, ...] = ()
    for k, (images, labels) in enumerate(IDRID):
        file, found = marker.parents[1] / labels, images_in(marker.parents[1] / images)
        rows = read_csv(file, ("Image name", "Retinopathy grade"))
        rows = [row for row in rows if row["Image name"]]
        present, half_notes = rows_with_image([row["Image name"] for row in rows], found, file, who)
        notes += half_notes
        for row in (rows[i] for i in present):
            names.append(f"{('train', 'test')[k]}_{row['Image name']}")
            grades.append(_grade(row["Retinopathy grade"], row["Image name"], file))
            test.append(k == 1)
            files.append(ImageFiles(found[stem(row["Image name"])]))
    return Manifest(names, np.array(grades, np.int64), None, np.array(test)), files, notes


def _read_kaggle(marker: Path, who: str, classes: Classes) -> ImageListing:
    """No official test part has labels. trainLabels_Binary.csv lacks grade 1; its level 1 is grade 2 and more."""
    pairs = [(marker.parent / file, marker.parent / folder / inner)
             for file, folders in KAGGLE.items() if file != "trainLabels_Binary.csv" or classes == "binary"
             for folder in folders for inner in (folder, ".")]  # fmt: skip
    usable = [(file, images) for file, images in pairs if file.is_file() and images.is_dir()]
    if not usable:
        legal = "trainLabels.csv with resized_train, or trainLabels_cropped.csv with resized_train_cropped"
        raise BadInput(f"{who}: no labels (for classes = '{classes}') with images in {marker.parent}; legal: {legal}")
    file, images = usable[0]
    rows, found = read_csv(file, ("image", "level")), images_in(images)
    present, notes = rows_with_image([row["image"] for row in rows], found, file, who)
    rows = [rows[i] for i in present]
    two = file.name == "trainLabels_Binary.csv"
    grades = [_grade(row["level"], row["image"], file, 1 if two else 4) * (2 if two else 1) for row in rows]
    stems = [stem(row["image"]) for row in rows]
    eyes = [EYE.match(stem) for stem in stems]
    patient = [eye[1] if eye else name for eye, name in zip(eyes, stems, strict=True)] if any(eyes) else None
    manifest = Manifest(stems, np.array(grades, np.int64), patient)
    return manifest, [ImageFiles(found[name]) for name in stems], notes


def _grade(value: str, name: str, file: Path, most: int = 4) -> int:
    if value not in map(str, range(most + 1)):
        raise BadInput(f"{file}: {name} has grade '{value}'; legal: 0 to {most}")
    return int(value)
