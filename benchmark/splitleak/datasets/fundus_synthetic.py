"""Retinal photographs drawn from an anatomy of one's own for each patient, lesions by grade, both eyes: no download.

Grades are those of the International Clinical Diabetic Retinopathy scale (Wilkinson et al., Ophthalmology
110(9):1677-1682, 2003): 1 microaneurysms only; 2 and 3 haemorrhages and exudates, more of them; 4 new vessels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy.ndimage import gaussian_filter

from splitleak.contract import Data, Dataset, Task
from splitleak.datasets.reading.check import checked
from splitleak.datasets.reading.folder import Array
from splitleak.datasets.reading.phantom import (
    Measures,
    Table,
    bump,
    divided,
    drawn,
    painted,
    posed,
    ripple,
    soft,
    waves,
)

SEED = 1851  # Helmholtz's ophthalmoscope
FRACTIONS = np.array([0.33, 0.09, 0.29, 0.17, 0.12])  # of patients with grade 0 to 4; IDRiD, more of grade 1
CHANGED = 0.15  # of second eyes are a grade beside the first's

PATIENT: Table = {
    "light": (0.72, 0.16), "green": (0.50, 0.09), "blue": (0.36, 0.12), "pigment": (0.04, 0.02), "vein": (0.58, 0.12),
    "macula": (0.36, 0.10), "disc": (0.125, 0.015), "cup": (0.45, 0.10), "pale": (0.75, 0.15), "oval": (1.1, 0.05),
}  # fmt: skip
EYE: Table = {
    "nasal": (0.42, 0.12), "height": (0.0, 0.05), "right": (0, 0.06), "down": (0, 0.05), "tilt": (0, 0.10),
    "zoom": (1.0, 0.06), "field": (0.93, 0.05), "crop": (0.90, 0.09), "lit_x": (0, 0.16), "lit_y": (0, 0.12),
    "vignette": (0.30, 0.10), "gain": (1.0, 0.09), "haze": (0.02, 0.012), "noise": (0.008, 0.003),
}  # fmt: skip
# Vessels leave the disc: heading in degrees (0 nasal, 90 up), turn on the way, length, width. The rest is mirrored.
TRUNKS = np.array([[112, 82, 1.55, 0.038], [100, 95, 1.35, 0.030], [62, -42, 0.85, 0.026], [150, 35, 0.55, 0.014]])
TWIGS, SPOTS, LOOPS = 6, 32, 7  # branches of each trunk; lesions of each kind and loops of new vessels at most
# Least and most lesions of each kind by grade: microaneurysms, haemorrhages, exudates, loops of new vessels.
LESIONS = np.array([
    [[0, 0], [0, 0], [0, 0], [0, 0]],
    [[3, 9], [0, 0], [0, 0], [0, 0]],
    [[6, 16], [1, 6], [2, 12], [0, 0]],
    [[12, 28], [8, 20], [4, 30], [0, 0]],
    [[8, 28], [6, 20], [0, 30], [3, 7]],
])  # fmt: skip


@dataclass(frozen=True)
class FundusSynthetic(Dataset):
    """Two eyes a patient, the second a mirror image with a pose of its own; patients are in one part only."""

    n: Annotated[int, Field(ge=100, le=100_000)] = 1000  # eyes, in all three parts
    size: Annotated[int, Field(ge=16, le=1024)] = 64  # pixels along a side
    classes: Literal["binary", "all"] = "binary"  # grade 0 against 2 and more, nobody of grade 1; or all five

    def load(self) -> Data:
        rng = np.random.default_rng(SEED)
        person = np.arange(self.n) // 2
        legal = np.arange(5) if self.classes == "all" else np.array([0, 2, 3, 4])
        kind, grade = _grades(self.n, legal, rng)
        own, now = drawn(PATIENT, len(kind), rng), drawn(EYE, self.n, rng)
        mirror = np.where(np.arange(self.n) % 2, 1, -1).astype(np.float32)[:, None, None]
        choroid, (trunk, twig), lesions = waves(self.n, 10, 9.0, rng), _vessels(self.n, rng), _lesions(grade, rng)

        def paint(chunk: slice) -> tuple[Array, ...]:
            m = {k: v[person[chunk]] for k, v in own.items()} | {k: v[chunk] for k, v in now.items()}
            x, y = posed(m, self.size)
            x = x * mirror[chunk]  # the nose is to the right, as in a right eye
            stems, tips = ({k: v[chunk] for k, v in tree.items()} for tree in (trunk, twig))
            drops = {k: (points[chunk], area[chunk]) for k, (points, area) in lesions.items()}
            drops["vessel"] = _traced(stems, tips, 12 + self.size)
            ink = {k: _ink(m, mirror[chunk], points, area, self.size) for k, (points, area) in drops.items()}
            return (_photograph(m, (x, y), ripple(x, y, choroid[chunk]), ink, rng),)

        (x,) = painted(self.n, self.size, paint)
        five = self.classes == "all"
        data = divided(x, grade if five else np.sign(grade), person, kind, Task("classes", 5 if five else 2))
        return checked(data, f"dataset '{self}'")


def _grades(n: int, legal: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Each patient's grade (P,), that of the first eye, and the grade of each eye (n,)."""
    people = (n + 1) // 2
    share = np.cumsum(FRACTIONS[legal]) / FRACTIONS[legal].sum()
    rank = rng.permutation(np.searchsorted(share, (np.arange(people) + 0.5) / people))
    step = np.where(rng.random(n) < CHANGED, rng.choice([-1, 1], n), 0) * (np.arange(n) % 2)
    eye = rank[np.arange(n) // 2]
    return legal[rank], legal[np.where(eye > 0, (eye + step).clip(1, len(legal) - 1), 0)]


def _walk(curve: Measures, steps: int) -> tuple[Array, Array]:
    """Curves that start at 0, (..., steps, 2), and where they head, (..., steps), in radians."""
    t = (np.arange(steps) + 0.5) / steps
    c = {key: value[..., None] for key, value in curve.items()}
    angle = c["heading"] + c["turn"] * t + c["sway"] * np.sin(9 * t + c["phase"])
    return np.cumsum(c["length"][..., None] / steps * np.stack([np.cos(angle), -np.sin(angle)], axis=-1), -2), angle


def _vessels(n: int, rng: np.random.Generator) -> tuple[Measures, Measures]:
    """The curves of the trunks, (n, 8) of each measure, and of the branches, (n, 8, TWIGS) relative to their trunk."""
    degrees, turn, length, width = np.concatenate([TRUNKS, TRUNKS * [-1, -1, 1, 1]]).T
    z = rng.normal(size=(5, n, len(degrees)))
    trunk = {
        "heading": np.deg2rad(degrees + 9 * z[0]), "turn": np.deg2rad(turn * (1 + 0.2 * z[1])),
        "length": length * (1 + 0.08 * z[2]), "width": width * np.exp(0.15 * z[3]), "sway": 0.25 * z[4],
        "phase": rng.uniform(0, 2 * np.pi, z[0].shape),
    }  # fmt: skip
    shape = (*z[0].shape, TWIGS)
    twig = {
        "heading": rng.choice([-1, 1], shape) * rng.uniform(0.4, 0.9, shape), "turn": 0.5 * rng.normal(size=shape),
        "length": rng.uniform(0.2, 0.5, shape), "sway": 0.25 * rng.normal(size=shape),
        "phase": rng.uniform(0, 2 * np.pi, shape), "at": rng.uniform(0.12, 0.9, shape),
    }  # fmt: skip
    return trunk, twig


def _traced(trunk: Measures, twig: Measures, steps: int) -> tuple[Array, Array]:
    """Points along every vessel, (n, K, 2) from the disc's centre, and the area that each stands for, (n, K)."""
    n = len(trunk["heading"])
    path, angle = _walk(trunk, steps)  # (n, 8, steps, 2)
    where = (twig["at"] * steps).astype(np.int64)
    length, width = trunk["length"][..., None], trunk["width"][..., None]
    leaves = twig["heading"] + np.take_along_axis(angle, where, axis=2)
    branch, _ = _walk(twig | {"heading": leaves, "length": twig["length"] * length}, steps // 2)
    branch += np.take_along_axis(path, where[..., None], axis=2)[..., None, :]
    thick = length * width / steps * np.linspace(1, 0.45, steps)
    thin = twig["length"] * length * 0.5 * width * (1 - 0.5 * twig["at"]) / (steps // 2)
    area = np.concatenate([thick.reshape(n, -1), thin.reshape(n, -1).repeat(steps // 2, 1)], axis=1)
    return np.concatenate([path.reshape(n, -1, 2), branch.reshape(n, -1, 2)], axis=1), area


def _lesions(grade: Array, rng: np.random.Generator) -> dict[str, tuple[Array, Array]]:
    """Points and areas, as of vessels, of what is dark (leaking blood), yellow (exudates) and new."""
    n, (least, most) = len(grade), np.moveaxis(LESIONS[grade], -1, 0)  # (n, 4) each
    some = np.arange(SPOTS) < rng.integers(least, most + 1)[..., None]  # (n, 4, SPOTS)
    radius, turn = 0.75 * np.sqrt(rng.random((2, n, SPOTS))), rng.uniform(0, 2 * np.pi, (2, n, SPOTS))
    micro, blot = np.stack([radius * np.cos(turn) - 0.42, radius * np.sin(turn)], axis=-1)
    blots, blood = _cluster(blot, 0.03, some[:, 1], rng)
    dark = np.concatenate([micro, blots], axis=1), np.concatenate([0.0012 * some[:, 0], blood], axis=1)
    ring = rng.normal([-0.45, 0], 0.22, (n, 1, 2)) + rng.normal(0, 0.16, (n, SPOTS, 2))  # around one place
    return {"dark": dark, "yellow": _cluster(ring, 0.018, some[:, 2], rng), "new": _tangle(some[:, 3, :LOOPS], rng)}


def _tangle(some: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """New vessels: fine loops, curled up near the disc or the arcades."""
    n, steps = len(some), 32
    turn = rng.choice([-1, 1], some.shape) * rng.uniform(3, 8, some.shape)
    curve = {"heading": rng.uniform(0, 2 * np.pi, some.shape), "turn": turn, "sway": 0.25 * rng.normal(size=some.shape)}
    curve |= {"length": rng.uniform(0.3, 0.6, some.shape), "phase": rng.uniform(0, 2 * np.pi, some.shape)}
    place = rng.normal([-0.05, 0], [0.2, 0.28], (n, 1, 2)) + rng.normal(0, 0.05, (n, LOOPS, 2))
    points = _walk(curve, steps)[0] + place[:, :, None]
    return points.reshape(n, -1, 2), (some * curve["length"] * 0.02 / steps).repeat(steps, 1)


def _cluster(centre: Array, radius: float, some: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Ragged blobs: nine points about each centre, (n, K, 2) to (n, 9 K, 2), and the area of each, 0 where not some."""
    n, k, _ = centre.shape
    each = radius * np.exp(0.4 * rng.normal(size=(n, k)))
    points = centre[:, :, None] + 0.6 * each[..., None, None] * rng.normal(size=(n, k, 9, 2))
    return points.reshape(n, -1, 2), (some * np.pi * each**2 / 9).repeat(9, axis=1)


def _ink(m: Measures, mirror: Array, points: Array, area: Array, size: int) -> Array:
    """How thickly points about the disc cover each pixel, (n, S, S): spread over four pixels each, then softened."""
    n = len(points)
    u, v = points[..., 0] + m["nasal"][:, 0], points[..., 1] + m["height"][:, 0]
    cos, sin = np.cos(m["tilt"][:, 0]) * m["zoom"][:, 0], np.sin(m["tilt"][:, 0]) * m["zoom"][:, 0]
    u = u * mirror[:, 0]
    x, y = cos * u - sin * v + m["right"][:, 0], sin * u + cos * v + m["down"][:, 0]
    column, row = (x + 1) * size / 2 - 0.5, (y + 1) * size / 2 - 0.5
    left, top = np.floor(column), np.floor(row)
    wide = size + 2  # a rim catches what falls outside
    total = np.zeros(n * wide * wide)
    for dx in (0, 1):
        for dy in (0, 1):
            part = (1 - np.abs(column - left - dx)) * (1 - np.abs(row - top - dy)) * area
            i, j = (top + dy + 1).clip(0, wide - 1).astype(np.int64), (left + dx + 1).clip(0, wide - 1).astype(np.int64)
            cell = (np.arange(n)[:, None] * wide + i) * wide + j
            total += np.bincount(cell.ravel(), part.ravel(), len(total))
    cover = total.reshape(n, wide, wide)[:, 1:-1, 1:-1] * (size / 2) ** 2
    return np.asarray(1 - np.exp(-gaussian_filter(cover, (0, 0.006 * size, 0.006 * size))), dtype=np.float32)


def _photograph(
    m: Measures, grid: tuple[Array, Array], choroid: Array, ink: dict[str, Array], rng: np.random.Generator
) -> Array:
    """Red, green and blue, (n, 3, S, S): blood takes away green and blue, exudates and the disc add yellow."""
    x, y = grid
    size = x.shape[-1]
    line = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
    rim = np.hypot(line, line[:, None])
    field = soft(m["field"] - rim, 3 / size) * soft(m["crop"] - np.abs(line[:, None]), 3 / size)
    lit = 1 + m["lit_x"] * line + m["lit_y"] * line[:, None] - m["vignette"] * rim**2
    lit = lit * m["gain"] * (1 + m["pigment"] * choroid)
    yellow_spot = 1 - m["macula"] * bump(np.hypot(x - m["nasal"] + 0.55, y - m["height"] - 0.06), 0.13)
    red = m["light"] * lit * (1 - 0.7 * (1 - yellow_spot))
    green, blue = red * m["green"] * yellow_spot, red * m["green"] * m["blue"] * yellow_spot
    near = np.hypot(x - m["nasal"], (y - m["height"]) / m["oval"])
    disc, cup = soft(m["disc"] - near, 0.05), soft(m["cup"] * m["disc"] - near, 0.06)
    pale = m["pale"] * disc * (0.8 + 0.35 * cup)
    blood = 1 - (1 - m["vein"] * ink["vessel"] * (1 - 0.5 * cup)) * (1 - 0.75 * ink["dark"]) * (1 - 0.7 * ink["new"])
    fat = 0.8 * ink["yellow"]
    red = (red + (0.98 - red) * (0.9 * pale + 0.9 * fat)) * (1 - 0.45 * blood)
    green = (green + (0.80 - green) * (0.85 * pale + fat)) * (1 - blood)
    blue = (blue + (0.5 - blue) * (0.6 * pale + 0.35 * fat)) * (1 - 0.8 * blood)
    image = np.stack([red, green, blue], axis=1) + m["haze"][:, None]
    image = image + m["noise"][:, None] * rng.normal(size=image.shape)
    return np.asarray(image.clip(0, 1) * field[:, None], dtype=np.float32)
