"""Vessels and lesions of synthetic retinal photographs, as points with the area of vessel or blood at each.

Coordinates are relative to the optic disc, in units of half the image's side; the macula is on the left, as in a right
eye seen with the nose to the right. Letters in shapes: n eyes, K points.
"""

from __future__ import annotations

import numpy as np

from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.synthetic_images import Parameters

Points = tuple[Array, Array]  # (n, K, 2) places and (n, K) areas
# Vessels leave the disc: heading in degrees (0 nasal, 90 up), turn along the way, length, width. Mirrored for below.
TRUNKS = np.array([[112, 82, 1.55, 0.038], [100, 95, 1.35, 0.030], [62, -42, 0.85, 0.026], [150, 35, 0.55, 0.014]])
BRANCHES = 6  # of each trunk
SPOTS, LOOPS = 32, 7  # at most so many lesions of each kind, and so many loops of new vessels
# Least and most lesions of each kind by grade: microaneurysms, haemorrhages, exudates, loops of new vessels.
LESIONS = np.array([
    [[0, 0], [0, 0], [0, 0], [0, 0]],
    [[3, 9], [0, 0], [0, 0], [0, 0]],
    [[6, 16], [1, 6], [2, 12], [0, 0]],
    [[12, 28], [8, 20], [4, 30], [0, 0]],
    [[8, 28], [6, 20], [0, 30], [3, 7]],
])  # fmt: skip


def sample_vessels(n: int, rng: np.random.Generator) -> tuple[Parameters, Parameters]:
    """Parameters of the trunks' curves, (n, 8) each, and of the branches', (n, 8, BRANCHES) relative to their trunk."""
    degrees, turn, length, width = np.concatenate([TRUNKS, TRUNKS * [-1, -1, 1, 1]]).T
    z = rng.normal(size=(5, n, len(degrees)))
    trunk = {
        "heading": np.deg2rad(degrees + 9 * z[0]), "turn": np.deg2rad(turn * (1 + 0.2 * z[1])),
        "length": length * (1 + 0.08 * z[2]), "width": width * np.exp(0.15 * z[3]), "sway": 0.25 * z[4],
        "phase": rng.uniform(0, 2 * np.pi, z[0].shape),
    }  # fmt: skip
    shape = (*z[0].shape, BRANCHES)
    branch = {
        "heading": rng.choice([-1, 1], shape) * rng.uniform(0.4, 0.9, shape), "turn": 0.5 * rng.normal(size=shape),
        "length": rng.uniform(0.2, 0.5, shape), "sway": 0.25 * rng.normal(size=shape),
        "phase": rng.uniform(0, 2 * np.pi, shape), "at": rng.uniform(0.12, 0.9, shape),
    }  # fmt: skip
    return trunk, branch


def vessel_points(trunk: Parameters, branch: Parameters, steps: int) -> Points:
    """Points along every vessel, (n, K, 2), and the area that each stands for, (n, K)."""
    n = len(trunk["heading"])
    path, angle = _curve(trunk, steps)  # (n, 8, steps, 2)
    where = (branch["at"] * steps).astype(np.int64)
    length, width = trunk["length"][..., None], trunk["width"][..., None]
    heading = branch["heading"] + np.take_along_axis(angle, where, axis=2)
    side_path, _ = _curve(branch | {"heading": heading, "length": branch["length"] * length}, steps // 2)
    side_path += np.take_along_axis(path, where[..., None], axis=2)[..., None, :]
    thick = length * width / steps * np.linspace(1, 0.45, steps)
    thin = branch["length"] * length * 0.5 * width * (1 - 0.5 * branch["at"]) / (steps // 2)
    area = np.concatenate([thick.reshape(n, -1), thin.reshape(n, -1).repeat(steps // 2, 1)], axis=1)
    return np.concatenate([path.reshape(n, -1, 2), side_path.reshape(n, -1, 2)], axis=1), area


def _curve(parameters: Parameters, steps: int) -> tuple[Array, Array]:
    """Curves that start at 0, (..., steps, 2), and their heading, (..., steps), in radians."""
    t = (np.arange(steps) + 0.5) / steps
    c = {key: value[..., None] for key, value in parameters.items()}
    angle = c["heading"] + c["turn"] * t + c["sway"] * np.sin(9 * t + c["phase"])
    return np.cumsum(c["length"][..., None] / steps * np.stack([np.cos(angle), -np.sin(angle)], axis=-1), -2), angle


def sample_lesions(grade: Array, rng: np.random.Generator) -> dict[str, Points]:
    """Points of what is dark (leaking blood), yellow (exudates) and new (new vessels)."""
    n, (least, most) = len(grade), np.moveaxis(LESIONS[grade], -1, 0)  # (n, 4) each
    present = np.arange(SPOTS) < rng.integers(least, most + 1)[..., None]  # (n, 4, SPOTS)
    radius, turn = 0.75 * np.sqrt(rng.random((2, n, SPOTS))), rng.uniform(0, 2 * np.pi, (2, n, SPOTS))
    micro, blot = np.stack([radius * np.cos(turn) - 0.42, radius * np.sin(turn)], axis=-1)
    blots, blood = _blobs(blot, 0.03, present[:, 1], rng)
    dark = np.concatenate([micro, blots], axis=1), np.concatenate([0.0012 * present[:, 0], blood], axis=1)
    ring = rng.normal([-0.45, 0], 0.22, (n, 1, 2)) + rng.normal(0, 0.16, (n, SPOTS, 2))  # around one place
    yellow = _blobs(ring, 0.018, present[:, 2], rng)
    return {"dark": dark, "yellow": yellow, "new": _new_vessels(present[:, 3, :LOOPS], rng)}


def _new_vessels(present: Array, rng: np.random.Generator) -> Points:
    """Fine loops, curled up near the disc or the vascular arcades."""
    n, steps, shape = len(present), 32, present.shape
    turn = rng.choice([-1, 1], shape) * rng.uniform(3, 8, shape)
    curve = {"heading": rng.uniform(0, 2 * np.pi, shape), "turn": turn, "sway": 0.25 * rng.normal(size=shape)}
    curve |= {"length": rng.uniform(0.3, 0.6, shape), "phase": rng.uniform(0, 2 * np.pi, shape)}
    place = rng.normal([-0.05, 0], [0.2, 0.28], (n, 1, 2)) + rng.normal(0, 0.05, (n, LOOPS, 2))
    points = _curve(curve, steps)[0] + place[:, :, None]
    return points.reshape(n, -1, 2), (present * curve["length"] * 0.02 / steps).repeat(steps, 1)


def _blobs(centre: Array, radius: float, present: Array, rng: np.random.Generator) -> Points:
    """Ragged blobs of nine points about each centre, (n, K, 2) -> (n, 9 K, 2), with area 0 where not present."""
    n, k, _ = centre.shape
    each = radius * np.exp(0.4 * rng.normal(size=(n, k)))
    points = centre[:, :, None] + 0.6 * each[..., None, None] * rng.normal(size=(n, k, 9, 2))
    return points.reshape(n, -1, 2), (present * np.pi * each**2 / 9).repeat(9, axis=1)
