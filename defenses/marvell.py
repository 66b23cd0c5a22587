"""Marvell (Li et al. 2022): optimal Gaussian noise makes the gradients of all classes alike.

The gradients of two classes are taken as N(m1, v I) and N(m0, u I) in d dimensions, p the share of the first,
D = m1 - m0. Their noises have variance k1, k0 along D and l1, l0 in every other direction. With a1 = v + k1,
b1 = v + l1, a0 = u + k0, b0 = u + l0 they minimise

    2 sumKL + 2 d = a1/a0 + a0/a1 + (d - 1) (b1/b0 + b0/b1) + |D|^2 (1/a0 + 1/a1),

where sumKL is the sum of both Kullback-Leibler divergences, at the power
p (k1 + (d - 1) l1) + (1 - p) (k0 + (d - 1) l0) = P. Across D only the ratio b1/b0 counts. So the class that varies more
gets no noise there, and the other at most as much as makes them equal. Of four unknowns two are left: how much power
goes across D and, for each such amount, how the two classes share the rest. Both are found on ever finer grids.

Source: Li et al., "Label Leakage and Protection in Two-party Split Learning", ICLR 2022, section 4.
Differs from the paper:
- With more than two classes, each record gets the noise of its own class against all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from splitleak.contract import BadInput, Defense

Array = np.ndarray[Any, np.dtype[np.float64]]
TINY = 1e-9  # smallest variance of a class, in units of |D|^2: that of a single record cannot be measured


@dataclass(frozen=True)
class Marvell(Defense):
    """Solved anew for each batch, each class against the rest of its batch; P = scale * |D|^2.

    With two classes that is the paper's method. With more, each record gets the noise of its own class against all
    others: that is new in this project and optimal for no stated aim. A batch of a single class has no D and is sent
    unchanged.
    """

    protocols = ("central", "vanilla", "u_shape")  # it acts while the network learns
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0  # paper: 0.1 to 25

    def gradient(self, g: Tensor, y: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        if y.is_floating_point() or y.dim() > 1:
            raise BadInput("defense 'marvell': it hides labels of classes, and these labels are none")
        flat = g.double().flatten(1)
        noisy: Tensor = flat.clone()
        for k in y.unique():
            members = y == k
            if not members.all():
                noisy[members] += self._noise(flat, members)
        return noisy.to(g.dtype).view_as(g)

    def _noise(self, flat: Tensor, members: Tensor) -> Tensor:
        """(n, D): the noise of the n records of one class (`members`, a mask (B,)), given all gradients (B, D)."""
        one, rest = flat[members], flat[~members]
        gap = one.mean(0) - rest.mean(0)  # (D,)
        size, d = float(gap.norm()), flat.shape[1]
        random = torch.randn_like(one)
        if size == 0:
            return torch.zeros_like(random)
        v, u = (float((part - part.mean(0)).square().sum(1).mean()) / d / size**2 for part in (one, rest))
        along, across, _, _ = solve(v, u, d, len(one) / len(flat), self.scale)  # in units of |D|^2
        line = gap / size
        part = (random @ line)[:, None] * line  # the component of the random vector along D
        noise: Tensor = size * (across**0.5 * (random - part) + along**0.5 * part)
        return noise


def solve(v: float, u: float, d: int, p: float, power: float) -> tuple[float, float, float, float]:
    """k1, l1, k0, l0, for |D| = 1: they minimise sumKL at this power."""
    v, u = max(v, TINY), max(u, TINY)
    price = (d - 1) * (p if v < u else 1 - p)  # power of one unit of noise across D, for the class that varies less
    most = min(abs(u - v), power / price) if price else 0.0

    def noises(t: Array, x: Array) -> tuple[Array, Array, Array, Array]:
        """k1, l1, k0, l0: t across D; of the power that is left, the share x for the first class."""
        left = np.maximum(power - price * t, 0)
        return x * left / p, t * (v < u), (1 - x) * left / (1 - p), t * (v >= u)

    start, end = 0.0, most
    for _ in range(4):
        t = np.linspace(start, end, 19)[1:-1, None]  # without the ends: at the upper one no power is left to share
        low, high = np.zeros_like(t), np.ones_like(t)
        for _ in range(2):  # the best x for each t
            x = low + (high - low) * np.linspace(0, 1, 65)
            k1, l1, k0, l0 = noises(t, x)
            loss = sum_kl(v + k1, v + l1, u + k0, u + l0, d)
            best, cell = np.take_along_axis(x, loss.argmin(1)[:, None], 1), (high - low) / 64
            low, high = np.maximum(best - cell, 0), np.minimum(best + cell, 1)
        i = int(loss.min(1).argmin())
        start, end = max(float(t[i, 0]) - (end - start) / 18, 0.0), min(float(t[i, 0]) + (end - start) / 18, most)
    k1, l1, k0, l0 = noises(t[i], best[i])
    return float(k1[0]), float(l1[0]), float(k0[0]), float(l0[0])


def sum_kl(a1: Array, b1: Array, a0: Array, b0: Array, d: int) -> Array:
    """KL(p1 || p0) + KL(p0 || p1) of the two classes with their noise, |D| = 1."""
    return (a1 / a0 + a0 / a1 + (d - 1) * (b1 / b0 + b0 / b1) + 1 / a0 + 1 / a1) / 2 - d
