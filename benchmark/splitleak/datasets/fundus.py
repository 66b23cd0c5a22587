"""Retinal photographs graded 0-4 for diabetic retinopathy, RGB: none against referable, or all five grades.

Layouts: `prepared` (labels.csv with file, split and grade beside images/), `pack` (the same at 64 x 64 in one npz) and
`idrid` (B. Disease Grading as published) are IDRiD, Porwal et al., Data 3(3):25 (2018), which does not tell patients;
`kaggle` is the resized EyePACS set (trainLabels*.csv with resized_train*), where 10_left and 10_right are one patient.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from splitleak.contract import Data, Dataset, Task
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.divide import Roll
from splitleak.datasets.reading.folder import Array, Layouts, find_layout, npz, table
from splitleak.datasets.reading.images import Size, at_most, from_arrays, from_files
from splitleak.datasets.reading.listing import Files, index, listed, stem

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
    """`binary`: grade 0 against 2 and more, grade 1 left out; `all`: five classes."""

    size: Size = 64  # pixels
    classes: Classes = "binary"
    layout: Literal["prepared", "idrid", "kaggle", "pack"] | None = None  # None: the first found
    n: Annotated[int, Field(ge=20)] | None = None  # at most so many private records; None: all

    def load(self) -> Data:
        layout, mark = find_layout("fundus", LAYOUTS, self.layout)
        who, task = f"dataset '{self}' ({mark})", task_of(self.classes)
        if layout == "pack":
            raw = npz(mark, {"images": 4, "grade": 1, "is_test": 1})
            names = [f"{mark.stem} {i}" for i in range(len(raw["grade"]))]
            roll = Roll(names, raw["grade"].astype(np.int64), None, raw["is_test"].astype(bool))
            rows, roll = graded(roll, self.classes)
            x = raw["images"]
            return from_arrays(roll, x[rows], at_most(self.size, x, who), task, who, n=self.n)
        read = {"prepared": _prepared, "idrid": _idrid, "kaggle": _kaggle}[layout]
        whole = read(mark, who, self.classes)
        rows, roll = graded(whole.roll, self.classes)
        files = [whole.files[i] for i in rows]
        return from_files(roll, files, self.size, 3, task, who, self.n, whole.notes)


def task_of(classes: Classes) -> Task:
    return Task("classes", 2 if classes == "binary" else 5)


def graded(roll: Roll, classes: Classes) -> tuple[Array, Roll]:
    """The rows that count, and their roll with classes for grades."""
    rows = np.flatnonzero(roll.label != 1) if classes == "binary" else np.arange(len(roll.label))
    kept = roll.take(rows)
    label = (kept.label >= 2).astype(np.int64) if classes == "binary" else kept.label
    return rows, Roll(kept.name, label, kept.patient, kept.test)


class Graded(NamedTuple):
    """Grades 0-4 and their files."""

    roll: Roll
    files: list[Files]
    notes: tuple[str, ...]


def _prepared(labels: Path, who: str, classes: Classes) -> Graded:
    rows, found = table(labels, ("file", "split", "grade")), index(labels.parent / "images")
    there, notes = listed([row["file"] for row in rows], found, labels, who)
    rows = [rows[i] for i in there]
    if bad := [row for row in rows if row["split"] not in ("train", "test")]:
        raise BadInput(f"{labels}: {bad[0]['file']} has split '{bad[0]['split']}'; legal: train, test")
    names = [row["file"] for row in rows]
    grades = np.array([_grade(row["grade"], row["file"], labels) for row in rows], np.int64)
    roll = Roll(names, grades, None, np.array([row["split"] == "test" for row in rows]))
    return Graded(roll, [Files(found[stem(name)]) for name in names], notes)


def _idrid(mark: Path, who: str, classes: Classes) -> Graded:
    """Both halves; IDRiD_001 exists in each, so names carry theirs."""
    names, grades, test, files = [], [], [], []
    notes: tuple[str, ...] = ()
    for k, (images, labels) in enumerate(IDRID):
        file, found = mark.parents[1] / labels, index(mark.parents[1] / images)
        rows = table(file, ("Image name", "Retinopathy grade"))
        rows = [row for row in rows if row["Image name"]]
        there, told = listed([row["Image name"] for row in rows], found, file, who)
        notes += told
        for row in (rows[i] for i in there):
            names.append(f"{('train', 'test')[k]}_{row['Image name']}")
            grades.append(_grade(row["Retinopathy grade"], row["Image name"], file))
            test.append(k == 1)
            files.append(Files(found[stem(row["Image name"])]))
    return Graded(Roll(names, np.array(grades, np.int64), None, np.array(test)), files, notes)


def _kaggle(mark: Path, who: str, classes: Classes) -> Graded:
    """No official test part with labels; in trainLabels_Binary.csv grade 1 is gone and level 1 is 2 and more."""
    pairs = [(mark.parent / file, mark.parent / folder / inner)
             for file, folders in KAGGLE.items() if file != "trainLabels_Binary.csv" or classes == "binary"
             for folder in folders for inner in (folder, ".")]  # fmt: skip
    usable = [(file, images) for file, images in pairs if file.is_file() and images.is_dir()]
    if not usable:
        wanted = "trainLabels.csv with resized_train, or trainLabels_cropped.csv with resized_train_cropped"
        raise BadInput(f"{who}: no labels (of classes = '{classes}') with images in {mark.parent}; wanted {wanted}")
    file, images = usable[0]
    rows, found = table(file, ("image", "level")), index(images)
    there, notes = listed([row["image"] for row in rows], found, file, who)
    rows = [rows[i] for i in there]
    two = file.name == "trainLabels_Binary.csv"
    grades = [_grade(row["level"], row["image"], file, 1 if two else 4) * (2 if two else 1) for row in rows]
    stems = [stem(row["image"]) for row in rows]
    eyes = [EYE.match(stem) for stem in stems]
    patient = [eye[1] if eye else name for eye, name in zip(eyes, stems, strict=True)] if any(eyes) else None
    return Graded(Roll(stems, np.array(grades, np.int64), patient), [Files(found[name]) for name in stems], notes)


def _grade(value: str, name: str, file: Path, most: int = 4) -> int:
    if value not in map(str, range(most + 1)):
        raise BadInput(f"{file}: {name} has grade '{value}'; legal: 0 to {most}")
    return int(value)
