"""Drawing of synthetic chest X-rays: lung fields, opacities, tissue in the beam, exposure.

Brightness follows the amount of tissue in the beam, as on film: bone, heart and liver are light, air in the lungs is
dark, and pneumonia is air replaced. `m` holds the parameters that `cxr_synthetic.py` lists, (n, 1, 1) each.
Letters in shapes: n images, P people, S pixels along a side.
"""

from __future__ import annotations

import numpy as np

from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.synthetic_images import (
    Grid,
    Parameters,
    gaussian,
    plane_wave_texture,
    posed_grid,
    soft_edge,
)

OPACITIES = 4  # at most, in one image


def sample_opacities(ill: Array, rng: np.random.Generator) -> Array:
    """(P, OPACITIES, 6): side, way out and way down in the lung, width, height, share of the air that is replaced."""
    shape = (len(ill), OPACITIES)
    side = np.where(rng.random(shape) < 0.55, -1.0, 1.0)
    out, down = rng.uniform(0.3, 0.85, shape), rng.uniform(0.15, 1.0, shape)
    wide, high = np.exp(rng.normal(np.log(0.18), 0.35, (2, *shape)))
    present = np.arange(OPACITIES) <= rng.integers(1, OPACITIES, (len(ill), 1))
    dense = rng.uniform(0.5, 1.0, shape) * present * ill[:, None]
    return np.stack([side, out, down, wide, high, dense], axis=-1).astype(np.float32)


def lung_fields(m: Parameters, size: int) -> tuple[Grid, Array]:
    """The posed grid, and each pixel's distance to the edge of a lung, (n, S, S): positive inside."""
    x, y = posed_grid(m, size)
    a = np.abs(x)  # distance from the midline
    base = m["base"] + m["breath"] + m["liver"] * np.sign(x)  # the liver, on the image's left, lifts the lung's base
    along = np.clip((base - y) / (base - m["apex"]), 0, None)
    chest = m["chest"] + m["turned"] * np.sign(x) + m["flare"] * (0.5 - along)
    crown = m["hilum"] + 0.4 * (chest - m["hilum"])
    across = np.where(a > crown, (a - crown) / (chest - crown), (crown - a) / (crown - m["hilum"]))
    wall = 0.25 * (1 - (across ** m["square"] + along ** m["square"]) ** (1 / m["square"]))
    dome = base + 0.09 - m["dome"] * (1 - ((a - crown) / (0.75 * (chest - crown))) ** 2) - y
    heart = ((x - m["heart"]) / m["heart_wide"]) ** 2 + ((y - base + 0.22) / m["heart_high"]) ** 2
    return (x, y), np.minimum(np.minimum(wall, dome), 0.15 * (np.sqrt(heart) - 1))


def replaced_air(m: Parameters, grid: Grid, opacities: Array, waves: Array) -> Array:
    """The share of the air that opacities replace at each pixel, (n, S, S)."""
    x, y = grid
    patchy = 1 + 0.45 * plane_wave_texture(x, y, waves)
    left = np.ones_like(x)
    for k in range(OPACITIES):
        side, out, down, wide, high, dense = np.moveaxis(opacities[:, k, :, None, None], 1, 0)
        middle = side * (m["hilum"] + out * (m["chest"] - m["hilum"]))
        level = m["apex"] + down * (m["base"] - m["apex"])
        near = np.exp(-(((x - middle) / wide) ** 2) - ((y - level) / high) ** 2)
        left *= 1 - np.clip(m["dense"] * dense * near * patchy, 0, 0.95)
    return np.asarray(1 - left)


def tissue_in_beam(m: Parameters, grid: Grid, lungs: Array, replaced: Array, waves: Array) -> Array:
    """How much tissue lies in the beam, (n, S, S): flesh, less the air in the lungs, and bone."""
    x, y = grid
    a, edge = np.abs(x), max(0.03, 2.0 / x.shape[-1])
    thick, flesh = _flesh(m, x, y)
    middle = gaussian(x, 0.15) * soft_edge(y - m["apex"] + 0.15, 0.3) * 0.2
    middle = middle - 0.1 * gaussian(x, 0.035) * soft_edge(-0.2 - y, 0.3)
    bones = np.maximum(_ribs(m, a, y), 1.3 * _clavicles(m, a, y)) + 0.9 * _spine(m, x, y)
    hilar = np.hypot(a - m["hilum"], y - 0.05)
    around = np.arctan2(y - 0.05, a - m["hilum"]) * 5
    vessels = m["marks"] * plane_wave_texture(around, 6 * hilar, waves) * gaussian(hilar, 0.35)
    vessels = vessels + 0.16 * gaussian(hilar, 0.13)
    air = soft_edge(lungs, edge) * (m["air"] * (1 - replaced) * (0.8 + 0.3 * soft_edge(lungs, 0.25)) - vessels)
    return np.asarray(flesh + middle - air * 0.75 + m["bone"] * bones * soft_edge(thick - 0.05, 0.1))


def _flesh(m: Parameters, x: Array, y: Array) -> tuple[Array, Array]:
    """The trunk's thickness in the beam, and the flesh of trunk, arms and belly, less the gas in the stomach."""
    a = np.abs(x)
    slope = 1 - np.clip((y - m["shoulder"]) / 0.4, 0, 1)
    flank = m["neck"] + (m["torso"] - m["neck"]) * np.sqrt(1 - slope**2)
    thick = np.clip(1 - (a / flank) ** 2.5, 0, 1) ** 0.5
    arm = m["torso"] + 0.16 + 0.12 * m["arm"] + 0.35 * m["arm"] * np.abs(y)
    limbs = np.clip(1 - ((a - arm) / 0.17) ** 2, 0, 1) ** 0.5 * soft_edge(y - m["shoulder"], 0.1)
    limbs += 0.25 * gaussian(a - arm, 0.04)
    belly = soft_edge(y - m["base"] - m["breath"] + m["dome"] - 0.09, 0.15)
    gas = m["gas"].clip(0) * gaussian(np.hypot(x - 0.35, 1.5 * (y - m["base"] - m["stomach"])), 0.09) * 6
    return thick, 0.66 * thick + 0.3 * limbs * (thick < 0.3) + 0.12 * belly * thick - 0.5 * gas * belly


def _ribs(m: Parameters, a: Array, y: Array) -> Array:
    """Ribs at the back go out and down, those in front come back; they end at the chest wall and the belly."""
    along = np.clip((m["base"] - y) / (m["base"] - m["apex"] + 0.05), 0, 1)
    within = soft_edge(1.03 * m["chest"] * np.sqrt(np.clip(1 - along**3, 0.02, 1)) - a, 0.08)
    back = np.cos(2 * np.pi * (y - m["first"] - m["slope"] * a - m["curve"] * (a - 0.25) ** 2) / m["ribs"])
    front = np.cos(2 * np.pi * (y - m["first"] + 0.55 * a) / (1.15 * m["ribs"]))
    visible = within * soft_edge(m["base"] + 0.25 - y, 0.3)
    in_front = 0.45 * np.clip(front, 0, 1) ** 2 * soft_edge(a - 0.3, 0.3)
    return np.asarray(visible * (np.clip(back, 0, 1) ** 1.5 + in_front))


def _clavicles(m: Parameters, a: Array, y: Array) -> Array:
    line = m["clavicle"] - m["lift"] * (a - 0.08) / 0.6 + 0.04 * np.sin(5 * a)
    return gaussian(y - line, 0.035) * soft_edge(a - 0.08, 0.06) * soft_edge(0.7 - a, 0.1) * 1.3


def _spine(m: Parameters, x: Array, y: Array) -> Array:
    discs = 1 + 0.25 * np.cos(2 * np.pi * y / m["vertebra"])
    return np.asarray(discs * soft_edge(m["spine"] - np.abs(x), 0.05))


def expose(m: Parameters, tissue: Array, rng: np.random.Generator) -> Array:
    """Brightness from tissue: gain, level and gamma of this exposure, light that falls off to one side, grain."""
    size = tissue.shape[-1]
    light = (0.03 + m["level"]) + m["gain"] * tissue + m["lit"] * np.linspace(-1, 1, size, dtype=np.float32)
    film = np.clip(light, 0, 1.3) ** m["gamma"]
    film = film / (1 + np.clip(film - 0.7, 0, None))  # the shoulder of the film's curve
    return np.asarray(film + m["noise"] * rng.normal(size=tissue.shape)).clip(0, 1).astype(np.float32)
