"""Tools for synthetic images: anatomy drawn at random per person or image, a posed pixel grid, shading, division.

Lengths are in units of half the image's side, x to the right and y downwards, so that the same people come out at any
size. Letters in shapes: n images, P people, S pixels along a side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from splitleak.contract import Data, Records, Task
from splitleak.datasets.reading.array_files import Array

Distributions = dict[str, tuple[float, float]]  # name of a parameter: its mean and standard deviation
Parameters = dict[str, Array]  # each (n, 1, 1): one number for each image, to be broadcast over a (n, S, S) grid
Grid = tuple[Array, Array]  # x and y of every pixel, (n, S, S) each
PARTS = np.array([0, 1, 2, 0, 0])  # 60 % private, 20 % auxiliary, 20 % test; three people of a kind fill all three


def sample_parameters(distributions: Distributions, count: int, rng: np.random.Generator) -> Parameters:
    """Each parameter normal about its mean, cut at two standard deviations so that nobody is deformed."""
    z = rng.normal(size=(len(distributions), count, 1, 1)).clip(-2, 2)
    named = enumerate(distributions.items())
    return {key: (mean + deviation * z[i]).astype(np.float32) for i, (key, (mean, deviation)) in named}


def posed_grid(m: Parameters, size: int) -> Grid:
    """x and y of every pixel in the person's own coordinates: shifted, tilted and zoomed."""
    line = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
    x, y = line - m["right"], line[:, None] - m["down"]
    cos, sin = np.cos(m["tilt"]) / m["zoom"], np.sin(m["tilt"]) / m["zoom"]
    return cos * x + sin * y, cos * y - sin * x


def soft_edge(distance: Array, width: Array | float) -> Array:
    """1 inside, 0 outside, a ramp of this width at the edge; `distance` to the edge is positive inside."""
    return np.clip(0.5 + distance / width, 0, 1)


def gaussian(distance: Array, width: Array | float) -> Array:
    return np.asarray(np.exp(-0.5 * (distance / width) ** 2))


def plane_wave_texture(x: Array, y: Array, waves: Array) -> Array:
    """Cloudy texture of about unit deviation: a sum of plane waves, (n, K, 3) of wave vector and phase."""
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=np.float32)
    for k in range(waves.shape[1]):
        u, v, phase = np.moveaxis(waves[:, k, :, None, None], 1, 0)
        total += np.cos(u * x + v * y + phase)
    return total * np.float32((2 / waves.shape[1]) ** 0.5)


def sample_plane_waves(count: int, terms: int, wave_number: float, rng: np.random.Generator) -> Array:
    """Random waves for `plane_wave_texture`, (count, terms, 3), with wave numbers around `wave_number`."""
    direction, phase = rng.uniform(0, 2 * np.pi, (2, count, terms))
    number = wave_number * np.exp(0.4 * rng.normal(size=(count, terms)))
    return np.stack([number * np.cos(direction), number * np.sin(direction), phase], axis=-1).astype(np.float32)


def _chunks(count: int, size: int) -> Iterator[slice]:
    """Slices of so many images that their grids stay in the processor's cache."""
    step = max(1, 2**16 // size**2)
    return (slice(start, start + step) for start in range(0, count, step))


def draw_in_chunks(count: int, size: int, draw: Callable[[slice], tuple[Array, ...]]) -> list[Array]:
    """The arrays that `draw` returns for each chunk of images, concatenated."""
    pieces = [draw(chunk) for chunk in _chunks(count, size)]
    return [np.concatenate(piece) for piece in zip(*pieces, strict=True)]


def divide_people(x: Array, y: Array, person: Array, kind: Array, task: Task) -> Data:
    """Private, auxiliary and test images of different people; each kind of person, (P,), is divided alike."""
    part = np.zeros(len(kind), dtype=np.int64)
    for k in np.unique(kind):
        alike = np.flatnonzero(kind == k)
        part[alike] = PARTS[np.arange(len(alike)) % len(PARTS)]

    def records(number: int) -> Records:
        index = np.flatnonzero(part[person] == number)
        return Records(*map(torch.from_numpy, (x[index], y[index], index, person[index])))

    return Data(records(0), records(1), records(2), task, (0.0, 1.0))
