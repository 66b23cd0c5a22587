"""Gaussian noise of the best shape for its power: the gradients of a class come to look like those of the others.

Li et al., "Label Leakage and Protection in Two-party Split Learning", ICLR 2022, section 4 (Marvell): the gradients of
two classes are taken as N(m1, v I) and N(m0, u I) in d dimensions, p the share of the first, D = m1 - m0. Their
noises have variance k1, k0 along D and l1, l0 in every other direction, and minimise, with a1 = v + k1, b1 = v + l1,
a0 = u + k0, b0 = u + l0,

    2 sumKL + 2 d = a1/a0 + a0/a1 + (d - 1) (b1/b0 + b0/b1) + |D|^2 (1/a0 + 1/a1),

the sum of both Kullback-Leibler divergences, at the power p (k1 + (d - 1) l1) + (1 - p) (k0 + (d - 1) l0) = P.
Across D only the ratio b1/b0 counts, so the class that varies more gets no noise there and the other at most what makes
them equal: of four unknowns two are left, how much goes across D and, for each such amount, how the rest is shared;
both are found on ever finer grids.
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
TINY = 1e-9  # least variance of a class, in units of |D|^2: a class of a single record has none to measure


@dataclass(frozen=True)
class Marvell(Defense):
    """Solved anew for each batch, each class against the rest of its batch; P = scale * |D|^2.

    Of two classes that is the paper's; with more, each record gets the noise of its own class against all others, which
    is new here and optimal for no stated aim. A batch of a single class has no D and is sent as it is.
    """

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0  # paper: 0.1 to 25

    def gradient(self, g: Tensor, y: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        if y.is_floating_point() or y.dim() > 1:
            raise BadInput("defense 'marvell': it hides classes, and the labels are none")
        flat = g.double().flatten(1)
        noisy: Tensor = flat.clone()
        for k in y.unique():
            own = y == k
            if not own.all():
                noisy[own] += self.noise(flat, own)
        return noisy.to(g.dtype).view_as(g)

    def noise(self, flat: Tensor, own: Tensor) -> Tensor:
        """(n, D): the noise of the n records of one class, given everybody's gradients (B, D)."""
        one, rest = flat[own], flat[~own]
        gap = one.mean(0) - rest.mean(0)  # (D,)
        size, d = float(gap.norm()), flat.shape[1]
        random = torch.randn_like(one)
        if size == 0:
            return torch.zeros_like(random)
        v, u = (float((part - part.mean(0)).square().sum(1).mean()) / d / size**2 for part in (one, rest))
        along, across, _, _ = solve(v, u, d, len(one) / len(flat), self.scale)  # in units of |D|^2
        line = gap / size
        part = (random @ line)[:, None] * line  # of the random vector, what lies along D
        noise: Tensor = size * (across**0.5 * (random - part) + along**0.5 * part)
        return noise


def solve(v: float, u: float, d: int, p: float, power: float) -> tuple[float, float, float, float]:
    """k1, l1, k0, l0, for |D| = 1: what minimises sumKL at this power."""
    v, u = max(v, TINY), max(u, TINY)
    price = (d - 1) * (p if v < u else 1 - p)  # of one unit of noise across D, for the class that varies less
    most = min(abs(u - v), power / price) if price else 0.0

    def noises(t: Array, x: Array) -> tuple[Array, Array, Array, Array]:
        """t across D, the share x of what is left to the one class, the rest to the other."""
        left = np.maximum(power - price * t, 0)
        return x * left / p, t * (v < u), (1 - x) * left / (1 - p), t * (v >= u)

    start, end = 0.0, most
    for _ in range(4):
        t = np.linspace(start, end, 19)[1:-1, None]  # not the very end: nothing is left there for x to share
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
    """KL(p1 || p0) + KL(p0 || p1) of the noised classes, |D| = 1."""
    return (a1 / a0 + a0 / a1 + (d - 1) * (b1 / b0 + b0 / b1) + 1 / a0 + 1 / a1) / 2 - d
