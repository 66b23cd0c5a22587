"""Rendering of synthetic retinal photographs: coverage of each pixel by vessels and lesions, colours, illumination.

`m` holds the parameters that `fundus_synthetic.py` lists, (n, 1, 1) each. Letters in shapes: n eyes, K points, S pixels
along a side.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.fundus_vessels import Points
from splitleak.datasets.reading.synthetic_images import Grid, Parameters, gaussian, soft_edge


def coverage(m: Parameters, mirror: Array, points: Points, size: int) -> Array:
    """How thickly points about the disc cover each pixel, (n, S, S): spread over four pixels each, then softened."""
    column, row = _pixels(m, mirror, points[0], size)
    left, top = np.floor(column), np.floor(row)
    n, wide = len(column), size + 2  # a rim of one pixel collects the points outside
    total = np.zeros(n * wide * wide)
    for dx in (0, 1):
        for dy in (0, 1):
            part = (1 - np.abs(column - left - dx)) * (1 - np.abs(row - top - dy)) * points[1]
            i, j = (top + dy + 1).clip(0, wide - 1).astype(np.int64), (left + dx + 1).clip(0, wide - 1).astype(np.int64)
            cell = (np.arange(n)[:, None] * wide + i) * wide + j
            total += np.bincount(cell.ravel(), part.ravel(), len(total))
    cover = total.reshape(n, wide, wide)[:, 1:-1, 1:-1] * (size / 2) ** 2
    return np.asarray(1 - np.exp(-gaussian_filter(cover, (0, 0.006 * size, 0.006 * size))), dtype=np.float32)


def _pixels(m: Parameters, mirror: Array, places: Array, size: int) -> tuple[Array, Array]:
    """Column and row, (n, K) each, of places about the disc under the eye's pose."""
    u, v = places[..., 0] + m["nasal"][:, 0], places[..., 1] + m["height"][:, 0]
    cos, sin = np.cos(m["tilt"][:, 0]) * m["zoom"][:, 0], np.sin(m["tilt"][:, 0]) * m["zoom"][:, 0]
    u = u * mirror[:, 0]
    x, y = cos * u - sin * v + m["right"][:, 0], sin * u + cos * v + m["down"][:, 0]
    return (x + 1) * size / 2 - 0.5, (y + 1) * size / 2 - 0.5


def photograph(m: Parameters, grid: Grid, choroid: Array, ink: dict[str, Array], rng: np.random.Generator) -> Array:
    """Red, green and blue, (n, 3, S, S): blood takes away green and blue, exudates and the disc add yellow."""
    x, y = grid
    line = (np.arange(x.shape[-1], dtype=np.float32) + 0.5) * 2 / x.shape[-1] - 1
    field, lit = _field_and_light(m, line, choroid)
    yellow_spot = 1 - m["macula"] * gaussian(np.hypot(x - m["nasal"] + 0.55, y - m["height"] - 0.06), 0.13)
    red = m["light"] * lit * (1 - 0.7 * (1 - yellow_spot))
    green, blue = red * m["green"] * yellow_spot, red * m["green"] * m["blue"] * yellow_spot
    near = np.hypot(x - m["nasal"], (y - m["height"]) / m["oval"])
    disc, cup = soft_edge(m["disc"] - near, 0.05), soft_edge(m["cup"] * m["disc"] - near, 0.06)
    pale = m["pale"] * disc * (0.8 + 0.35 * cup)
    blood = 1 - (1 - m["vein"] * ink["vessel"] * (1 - 0.5 * cup)) * (1 - 0.75 * ink["dark"]) * (1 - 0.7 * ink["new"])
    fat = 0.8 * ink["yellow"]
    red = (red + (0.98 - red) * (0.9 * pale + 0.9 * fat)) * (1 - 0.45 * blood)
    green = (green + (0.80 - green) * (0.85 * pale + fat)) * (1 - blood)
    blue = (blue + (0.5 - blue) * (0.6 * pale + 0.35 * fat)) * (1 - 0.8 * blood)
    image = np.stack([red, green, blue], axis=1) + m["haze"][:, None]
    image = image + m["noise"][:, None] * rng.normal(size=image.shape)
    return np.asarray(image.clip(0, 1) * field[:, None], dtype=np.float32)


def _field_and_light(m: Parameters, line: Array, choroid: Array) -> tuple[Array, Array]:
    """The camera's round field of view, 0 to 1, and the light at each pixel; (n, S, S) each."""
    size = len(line)
    rim = np.hypot(line, line[:, None])
    field = soft_edge(m["field"] - rim, 3 / size) * soft_edge(m["crop"] - np.abs(line[:, None]), 3 / size)
    lit = 1 + m["lit_x"] * line + m["lit_y"] * line[:, None] - m["vignette"] * rim**2
    return field, lit * m["gain"] * (1 + m["pigment"] * choroid)
