"""Synthetic chest X-rays (no download): 1000 grey images, lung masks or two classes.

Each patient has an anatomy of their own. Brightness follows the amount of tissue in the beam, as on film: bone, heart
and liver are light, air in the lungs is dark, and pneumonia is air replaced. Masks are the aerated lung fields without
the heart's shadow, opacities included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from splitleak.contract import Data, Dataset, Task
from splitleak.datasets.reading import chest_drawing
from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.synthetic_images import (
    Distributions,
    divide_people,
    draw_in_chunks,
    sample_parameters,
    sample_plane_waves,
)
from splitleak.datasets.reading.validation import validate

SEED = 1895
MOST_IMAGES = 3  # of one patient
HEALTHY = 2 / 5  # of the patients, as in `cxr_pneumonia`

PATIENT: Distributions = {
    "zoom": (1.22, 0.09), "torso": (0.82, 0.05), "shoulder": (-0.86, 0.06), "neck": (0.20, 0.03), "arm": (0.5, 0.25),
    "chest": (0.66, 0.055), "flare": (0.10, 0.03), "apex": (-0.62, 0.05), "base": (0.42, 0.08), "dome": (0.19, 0.05),
    "liver": (0.04, 0.02), "square": (2.5, 0.3), "hilum": (0.13, 0.02), "heart": (0.11, 0.035),
    "heart_wide": (0.27, 0.04), "heart_high": (0.36, 0.05), "ribs": (0.15, 0.012), "first": (0.0, 0.05),
    "slope": (0.22, 0.09), "curve": (0.35, 0.12), "bone": (0.16, 0.04), "clavicle": (-0.52, 0.05),
    "lift": (0.14, 0.07), "spine": (0.08, 0.01), "vertebra": (0.13, 0.012), "air": (0.52, 0.09),
    "marks": (0.06, 0.02), "stomach": (0.16, 0.05), "gas": (0.0, 0.06),
}  # fmt: skip
IMAGE: Distributions = {
    "right": (0, 0.05), "down": (0.04, 0.06), "tilt": (0, 0.05), "breath": (0, 0.03), "turned": (0, 0.025),
    "gain": (1.0, 0.13), "level": (0, 0.05), "gamma": (1.0, 0.15), "lit": (0, 0.05), "noise": (0.010, 0.003),
}  # fmt: skip


@dataclass(frozen=True)
class CXRSynthetic(Dataset):
    """The same patients and images for every task and size; each patient is in one part only."""

    n: Annotated[int, Field(ge=60, le=100_000)] = 1000  # images, of about half as many patients, in all three parts
    size: Annotated[int, Field(ge=16, le=1024)] = 64  # pixels along a side
    task: Literal["mask", "classes"] = "mask"  # lung masks; or class 1 for an opacity, 0 for none

    def load(self) -> Data:
        rng = np.random.default_rng(SEED)
        person = np.repeat(np.arange(self.n), rng.integers(1, MOST_IMAGES + 1, self.n))[: self.n]
        people = person[-1] + 1
        ill = rng.permutation(np.arange(people) >= HEALTHY * people).astype(np.int64)
        x, mask = self._draw(person, ill, rng)
        y, task = (mask, Task("mask", 1)) if self.task == "mask" else (ill[person], Task("classes", 2))
        return validate(divide_people(x, y, person, ill, task), f"dataset '{self}'")

    def _draw(self, person: Array, ill: Array, rng: np.random.Generator) -> list[Array]:
        """Images and lung masks, (n, 1, S, S) each."""
        people = len(ill)
        anatomy, opacities = sample_parameters(PATIENT, people, rng), chest_drawing.sample_opacities(ill, rng)
        cloud, vessels = sample_plane_waves(people, 6, 14.0, rng), sample_plane_waves(people, 6, 5.0, rng)
        exposure = sample_parameters(IMAGE, self.n, rng)
        exposure["dense"] = rng.uniform(0.75, 1.15, (self.n, 1, 1)).astype(np.float32)  # opacities vary between images

        def draw(chunk: slice) -> tuple[Array, ...]:
            who = person[chunk]
            m = {k: v[who] for k, v in anatomy.items()} | {k: v[chunk] for k, v in exposure.items()}
            grid, lungs = chest_drawing.lung_fields(m, self.size)
            replaced = chest_drawing.replaced_air(m, grid, opacities[who], cloud[who])
            tissue = chest_drawing.tissue_in_beam(m, grid, lungs, replaced, vessels[who])
            return chest_drawing.expose(m, tissue, rng)[:, None], (lungs > 0)[:, None].astype(np.float32)

        return draw_in_chunks(self.n, self.size, draw)
