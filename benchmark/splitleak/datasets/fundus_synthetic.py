"""Synthetic retinal photographs (no download): 1000 RGB images, grades 0-4 or two classes.

Each patient has an anatomy of their own and two eyes; lesions follow the grade. Grades are those of the International
Clinical Diabetic Retinopathy scale (Wilkinson et al., Ophthalmology 110(9):1677-1682, 2003): 1 microaneurysms only;
2 and 3 haemorrhages and exudates, more of them; 4 new vessels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from splitleak.contract import Data, Dataset, Task
from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.fundus_photograph import coverage, photograph
from splitleak.datasets.reading.fundus_vessels import sample_lesions, sample_vessels, vessel_points
from splitleak.datasets.reading.synthetic_images import (
    Distributions,
    divide_people,
    draw_in_chunks,
    plane_wave_texture,
    posed_grid,
    sample_parameters,
    sample_plane_waves,
)
from splitleak.datasets.reading.validation import validate

SEED = 1851  # the year of Helmholtz's ophthalmoscope
FRACTIONS = np.array([0.33, 0.09, 0.29, 0.17, 0.12])  # of patients with grade 0 to 4; as IDRiD, but more of grade 1
CHANGED = 0.15  # of second eyes have a grade beside the first eye's

PATIENT: Distributions = {
    "light": (0.72, 0.16), "green": (0.50, 0.09), "blue": (0.36, 0.12), "pigment": (0.04, 0.02), "vein": (0.58, 0.12),
    "macula": (0.36, 0.10), "disc": (0.125, 0.015), "cup": (0.45, 0.10), "pale": (0.75, 0.15), "oval": (1.1, 0.05),
}  # fmt: skip
EYE: Distributions = {
    "nasal": (0.42, 0.12), "height": (0.0, 0.05), "right": (0, 0.06), "down": (0, 0.05), "tilt": (0, 0.10),
    "zoom": (1.0, 0.06), "field": (0.93, 0.05), "crop": (0.90, 0.09), "lit_x": (0, 0.16), "lit_y": (0, 0.12),
    "vignette": (0.30, 0.10), "gain": (1.0, 0.09), "haze": (0.02, 0.012), "noise": (0.008, 0.003),
}  # fmt: skip


@dataclass(frozen=True)
class FundusSynthetic(Dataset):
    """A patient's second eye is a mirror image with another pose; each patient is in one part only."""

    n: Annotated[int, Field(ge=100, le=100_000)] = 1000  # eyes, in all three parts
    size: Annotated[int, Field(ge=16, le=1024)] = 64  # pixels along a side
    classes: Literal["binary", "all"] = "binary"  # grade 0 against 2 and more, without grade 1; or all five grades

    def load(self) -> Data:
        rng = np.random.default_rng(SEED)
        person = np.arange(self.n) // 2
        grades = np.arange(5) if self.classes == "all" else np.array([0, 2, 3, 4])
        kind, grade = _sample_grades(self.n, grades, rng)
        x = self._draw(person, grade, rng)
        five = self.classes == "all"
        data = divide_people(x, grade if five else np.sign(grade), person, kind, Task("classes", 5 if five else 2))
        return validate(data, f"dataset '{self}'")

    def _draw(self, person: Array, grade: Array, rng: np.random.Generator) -> Array:
        """Images, (n, 3, S, S)."""
        anatomy, pose = sample_parameters(PATIENT, int(person[-1]) + 1, rng), sample_parameters(EYE, self.n, rng)
        mirror = np.where(np.arange(self.n) % 2, 1, -1).astype(np.float32)[:, None, None]
        choroid, trees = sample_plane_waves(self.n, 10, 9.0, rng), sample_vessels(self.n, rng)
        lesions = sample_lesions(grade, rng)

        def draw(chunk: slice) -> tuple[Array, ...]:
            m = {k: v[person[chunk]] for k, v in anatomy.items()} | {k: v[chunk] for k, v in pose.items()}
            x, y = posed_grid(m, self.size)
            x = x * mirror[chunk]  # the nose is to the right, as in a right eye
            trunk, branch = ({k: v[chunk] for k, v in tree.items()} for tree in trees)
            points = {k: (places[chunk], area[chunk]) for k, (places, area) in lesions.items()}
            points["vessel"] = vessel_points(trunk, branch, 12 + self.size)
            ink = {k: coverage(m, mirror[chunk], p, self.size) for k, p in points.items()}
            return (photograph(m, (x, y), plane_wave_texture(x, y, choroid[chunk]), ink, rng),)

        (x,) = draw_in_chunks(self.n, self.size, draw)
        return x


def _sample_grades(n: int, legal: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Each patient's grade (P,), which is the first eye's, and the grade of each eye (n,)."""
    people = (n + 1) // 2
    share = np.cumsum(FRACTIONS[legal]) / FRACTIONS[legal].sum()
    rank = rng.permutation(np.searchsorted(share, (np.arange(people) + 0.5) / people))
    step = np.where(rng.random(n) < CHANGED, rng.choice([-1, 1], n), 0) * (np.arange(n) % 2)
    eye = rank[np.arange(n) // 2]
    return legal[rank], legal[np.where(eye > 0, (eye + step).clip(1, len(legal) - 1), 0)]
