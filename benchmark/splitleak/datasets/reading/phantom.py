"""What procedural images share: tables of anatomy drawn per person or picture, a posed grid, and who is in which part.

A table holds a mean and a spread for each measure. Lengths are in half the side of the picture, x to the right and y
downwards, so the same people come out at any size. Letters in shapes: n pictures, P people, S pixels along a side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from splitleak.contract import Data, Records, Task
from splitleak.datasets.reading.folder import Array

Table = dict[str, tuple[float, float]]
Measures = dict[str, Array]  # each (n, 1, 1): one number a picture, ready to meet a (n, S, S) grid
PARTS = np.array([0, 1, 2, 0, 0])  # 60 % private, 20 % auxiliary, 20 % test; three of a kind are in all three


def drawn(table: Table, count: int, rng: np.random.Generator) -> Measures:
    """Each measure normal about its mean, at most two spreads from it: nobody is deformed."""
    z = rng.normal(size=(len(table), count, 1, 1)).clip(-2, 2)
    return {key: (mid + spread * z[i]).astype(np.float32) for i, (key, (mid, spread)) in enumerate(table.items())}


def posed(m: Measures, size: int) -> tuple[Array, Array]:
    """x and y of every pixel, (n, S, S) each, as the person sees them: shifted, tilted and zoomed."""
    line = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
    x, y = line - m["right"], line[:, None] - m["down"]
    cos, sin = np.cos(m["tilt"]) / m["zoom"], np.sin(m["tilt"]) / m["zoom"]
    return cos * x + sin * y, cos * y - sin * x


def soft(distance: Array, width: Array | float) -> Array:
    """1 inside, 0 outside, a ramp of this width where the distance to the edge (positive inside) goes through 0."""
    return np.clip(0.5 + distance / width, 0, 1)


def bump(distance: Array, width: Array | float) -> Array:
    return np.asarray(np.exp(-0.5 * (distance / width) ** 2))


def ripple(x: Array, y: Array, waves: Array) -> Array:
    """Cloudy texture of about unit deviation: a few plane waves, (n, K, 3) of wave vector and phase."""
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=np.float32)
    for k in range(waves.shape[1]):
        u, v, phase = np.moveaxis(waves[:, k, :, None, None], 1, 0)
        total += np.cos(u * x + v * y + phase)
    return total * np.float32((2 / waves.shape[1]) ** 0.5)


def waves(count: int, terms: int, pitch: float, rng: np.random.Generator) -> Array:
    """Random plane waves for `ripple`, (count, terms, 3), of wave numbers about `pitch`."""
    turn, phase = rng.uniform(0, 2 * np.pi, (2, count, terms))
    pace = pitch * np.exp(0.4 * rng.normal(size=(count, terms)))
    return np.stack([pace * np.cos(turn), pace * np.sin(turn), phase], axis=-1).astype(np.float32)


def chunks(count: int, size: int) -> Iterator[slice]:
    """Slices of so many pictures that their grids stay in the processor's cache."""
    step = max(1, 2**16 // size**2)
    return (slice(start, start + step) for start in range(0, count, step))


def painted(count: int, size: int, paint: Callable[[slice], tuple[Array, ...]]) -> list[Array]:
    """What `paint` returns for each chunk of pictures, joined."""
    pieces = [paint(chunk) for chunk in chunks(count, size)]
    return [np.concatenate(piece) for piece in zip(*pieces, strict=True)]


def divided(x: Array, y: Array, person: Array, kind: Array, task: Task) -> Data:
    """Private, auxiliary and test pictures of different people, each kind of person (P,) dealt out alike."""
    part = np.zeros(len(kind), dtype=np.int64)
    for k in np.unique(kind):
        alike = np.flatnonzero(kind == k)
        part[alike] = PARTS[np.arange(len(alike)) % len(PARTS)]

    def records(number: int) -> Records:
        index = np.flatnonzero(part[person] == number)
        return Records(*map(torch.from_numpy, (x[index], y[index], index, person[index])))

    return Data(records(0), records(1), records(2), task, (0.0, 1.0))
