"""Chest X-rays drawn from an anatomy of one's own for each patient, with lung masks and opacities: no download.

Brightness follows how much tissue lies in the beam, as on film: bone, heart and liver are light, air in the lungs is
dark, and pneumonia is air replaced. Masks are the aerated lung fields without the heart's shadow, opacities included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

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

SEED, MOST, SPOTS = 1895, 3, 4  # at most so many pictures of one patient, and so many opacities in one picture
HEALTHY = 2 / 5  # of the patients, as in `cxr_pneumonia`

PATIENT: Table = {
    "zoom": (1.22, 0.09), "torso": (0.82, 0.05), "shoulder": (-0.86, 0.06), "neck": (0.20, 0.03), "arm": (0.5, 0.25),
    "chest": (0.66, 0.055), "flare": (0.10, 0.03), "apex": (-0.62, 0.05), "base": (0.42, 0.08), "dome": (0.19, 0.05),
    "liver": (0.04, 0.02), "square": (2.5, 0.3), "hilum": (0.13, 0.02), "heart": (0.11, 0.035),
    "heart_wide": (0.27, 0.04), "heart_high": (0.36, 0.05), "ribs": (0.15, 0.012), "first": (0.0, 0.05),
    "slope": (0.22, 0.09), "curve": (0.35, 0.12), "bone": (0.16, 0.04), "clavicle": (-0.52, 0.05),
    "lift": (0.14, 0.07), "spine": (0.08, 0.01), "vertebra": (0.13, 0.012), "air": (0.52, 0.09),
    "marks": (0.06, 0.02), "stomach": (0.16, 0.05), "gas": (0.0, 0.06),
}  # fmt: skip
PICTURE: Table = {
    "right": (0, 0.05), "down": (0.04, 0.06), "tilt": (0, 0.05), "breath": (0, 0.03), "turned": (0, 0.025),
    "gain": (1.0, 0.13), "level": (0, 0.05), "gamma": (1.0, 0.15), "lit": (0, 0.05), "noise": (0.010, 0.003),
}  # fmt: skip


@dataclass(frozen=True)
class CXRSynthetic(Dataset):
    """Pictures of the same patients whatever the task and the size; patients are in one part only."""

    n: Annotated[int, Field(ge=60, le=100_000)] = 1000  # pictures, of about half as many patients, in all three parts
    size: Annotated[int, Field(ge=16, le=1024)] = 64  # pixels along a side
    task: Literal["mask", "classes"] = "mask"  # the lungs, or opacity (1) against none

    def load(self) -> Data:
        rng = np.random.default_rng(SEED)
        person = np.repeat(np.arange(self.n), rng.integers(1, MOST + 1, self.n))[: self.n]
        people = person[-1] + 1
        ill = rng.permutation(np.arange(people) >= HEALTHY * people).astype(np.int64)
        own, spots = drawn(PATIENT, people, rng), _opacities(ill, rng)
        cloud, marks = waves(people, 6, 14.0, rng), waves(people, 6, 5.0, rng)
        now = drawn(PICTURE, self.n, rng)
        now["dense"] = rng.uniform(0.75, 1.15, (self.n, 1, 1)).astype(np.float32)  # an opacity comes and goes

        def paint(chunk: slice) -> tuple[Array, ...]:
            who = person[chunk]
            m = {k: v[who] for k, v in own.items()} | {k: v[chunk] for k, v in now.items()}
            grid, lungs = _lungs(m, self.size)
            filled = _filled(m, grid, spots[who], cloud[who])
            x = _exposed(m, _tissue(m, grid, lungs, filled, marks[who]), rng)
            return x[:, None], (lungs > 0)[:, None].astype(np.float32)

        x, mask = painted(self.n, self.size, paint)
        y, task = (mask, Task("mask", 1)) if self.task == "mask" else (ill[person], Task("classes", 2))
        return checked(divided(x, y, person, ill, task), f"dataset '{self}'")


def _opacities(ill: Array, rng: np.random.Generator) -> Array:
    """(P, SPOTS, 6): side, way out and way down in the lung, width, height and how much of the air is replaced."""
    shape = (len(ill), SPOTS)
    side = np.where(rng.random(shape) < 0.55, -1.0, 1.0)
    out, down = rng.uniform(0.3, 0.85, shape), rng.uniform(0.15, 1.0, shape)
    wide, high = np.exp(rng.normal(np.log(0.18), 0.35, (2, *shape)))
    some = np.arange(SPOTS) <= rng.integers(1, SPOTS, (len(ill), 1))
    dense = rng.uniform(0.5, 1.0, shape) * some * ill[:, None]
    return np.stack([side, out, down, wide, high, dense], axis=-1).astype(np.float32)


def _lungs(m: Measures, size: int) -> tuple[tuple[Array, Array], Array]:
    """The posed grid, and how far inside a lung each of its pixels is (negative outside), (n, S, S)."""
    x, y = posed(m, size)
    a = np.abs(x)  # away from the midline
    base = m["base"] + m["breath"] + m["liver"] * np.sign(x)  # the liver, left in the picture, lifts it
    along = np.clip((base - y) / (base - m["apex"]), 0, None)
    chest = m["chest"] + m["turned"] * np.sign(x) + m["flare"] * (0.5 - along)
    crown = m["hilum"] + 0.4 * (chest - m["hilum"])
    across = np.where(a > crown, (a - crown) / (chest - crown), (crown - a) / (crown - m["hilum"]))
    wall = 0.25 * (1 - (across ** m["square"] + along ** m["square"]) ** (1 / m["square"]))
    dome = base + 0.09 - m["dome"] * (1 - ((a - crown) / (0.75 * (chest - crown))) ** 2) - y
    beat = ((x - m["heart"]) / m["heart_wide"]) ** 2 + ((y - base + 0.22) / m["heart_high"]) ** 2
    return (x, y), np.minimum(np.minimum(wall, dome), 0.15 * (np.sqrt(beat) - 1))


def _filled(m: Measures, grid: tuple[Array, Array], spots: Array, cloud: Array) -> Array:
    """How much of the air each pixel has lost to opacities, (n, S, S)."""
    x, y = grid
    patchy = 1 + 0.45 * ripple(x, y, cloud)
    left = np.ones_like(x)
    for k in range(SPOTS):
        side, out, down, wide, high, dense = np.moveaxis(spots[:, k, :, None, None], 1, 0)
        middle = side * (m["hilum"] + out * (m["chest"] - m["hilum"]))
        level = m["apex"] + down * (m["base"] - m["apex"])
        near = np.exp(-(((x - middle) / wide) ** 2) - ((y - level) / high) ** 2)
        left *= 1 - np.clip(m["dense"] * dense * near * patchy, 0, 0.95)
    return np.asarray(1 - left)


def _tissue(m: Measures, grid: tuple[Array, Array], lungs: Array, filled: Array, marks: Array) -> Array:
    """How much lies in the beam, (n, S, S): flesh, less the air in it, and bone."""
    x, y = grid
    a, edge = np.abs(x), max(0.03, 2.0 / x.shape[-1])
    slope = 1 - np.clip((y - m["shoulder"]) / 0.4, 0, 1)
    flank = m["neck"] + (m["torso"] - m["neck"]) * np.sqrt(1 - slope**2)
    thick = np.clip(1 - (a / flank) ** 2.5, 0, 1) ** 0.5
    arm = m["torso"] + 0.16 + 0.12 * m["arm"] + 0.35 * m["arm"] * np.abs(y)
    limbs = np.clip(1 - ((a - arm) / 0.17) ** 2, 0, 1) ** 0.5 * soft(y - m["shoulder"], 0.1)
    limbs += 0.25 * bump(a - arm, 0.04)
    belly = soft(y - m["base"] - m["breath"] + m["dome"] - 0.09, 0.15)
    gas = m["gas"].clip(0) * bump(np.hypot(x - 0.35, 1.5 * (y - m["base"] - m["stomach"])), 0.09) * 6
    flesh = 0.66 * thick + 0.3 * limbs * (thick < 0.3) + 0.12 * belly * thick - 0.5 * gas * belly
    middle = bump(x, 0.15) * soft(y - m["apex"] + 0.15, 0.3) * 0.2 - 0.1 * bump(x, 0.035) * soft(-0.2 - y, 0.3)
    bones = np.maximum(_ribs(m, a, y), 1.3 * _clavicles(m, a, y)) + 0.9 * _spine(m, x, y)
    hilar = np.hypot(a - m["hilum"], y - 0.05)
    around = np.arctan2(y - 0.05, a - m["hilum"]) * 5
    vessels = m["marks"] * ripple(around, 6 * hilar, marks) * bump(hilar, 0.35) + 0.16 * bump(hilar, 0.13)
    air = soft(lungs, edge) * (m["air"] * (1 - filled) * (0.8 + 0.3 * soft(lungs, 0.25)) - vessels)
    return np.asarray(flesh + middle - air * 0.75 + m["bone"] * bones * soft(thick - 0.05, 0.1))


def _ribs(m: Measures, a: Array, y: Array) -> Array:
    """Ribs at the back go out and down, those in front come back; they end at the chest's wall and the belly."""
    along = np.clip((m["base"] - y) / (m["base"] - m["apex"] + 0.05), 0, 1)
    within = soft(1.03 * m["chest"] * np.sqrt(np.clip(1 - along**3, 0.02, 1)) - a, 0.08)
    back = np.cos(2 * np.pi * (y - m["first"] - m["slope"] * a - m["curve"] * (a - 0.25) ** 2) / m["ribs"])
    front = np.cos(2 * np.pi * (y - m["first"] + 0.55 * a) / (1.15 * m["ribs"]))
    seen = within * soft(m["base"] + 0.25 - y, 0.3)
    return np.asarray(seen * (np.clip(back, 0, 1) ** 1.5 + 0.45 * np.clip(front, 0, 1) ** 2 * soft(a - 0.3, 0.3)))


def _clavicles(m: Measures, a: Array, y: Array) -> Array:
    line = m["clavicle"] - m["lift"] * (a - 0.08) / 0.6 + 0.04 * np.sin(5 * a)
    return bump(y - line, 0.035) * soft(a - 0.08, 0.06) * soft(0.7 - a, 0.1) * 1.3


def _spine(m: Measures, x: Array, y: Array) -> Array:
    discs = 1 + 0.25 * np.cos(2 * np.pi * y / m["vertebra"])
    return np.asarray(discs * soft(m["spine"] - np.abs(x), 0.05))


def _exposed(m: Measures, tissue: Array, rng: np.random.Generator) -> Array:
    """Tissue to brightness: gain, level and gamma of this exposure, light falling off to one side, grain."""
    size = tissue.shape[-1]
    light = (0.03 + m["level"]) + m["gain"] * tissue + m["lit"] * np.linspace(-1, 1, size, dtype=np.float32)
    film = np.clip(light, 0, 1.3) ** m["gamma"]
    film = film / (1 + np.clip(film - 0.7, 0, None))  # the shoulder of the film
    return np.asarray(film + m["noise"] * rng.normal(size=tissue.shape)).clip(0, 1).astype(np.float32)
