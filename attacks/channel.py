"""Near the client a channel of z is still the record, only shorter and on another scale: show the best one.

Each channel of z (N, *cut) is resampled to the record's positions, as it is and upside down, and given the mean and
the spread that auxiliary records have at each position; the one whose distribution is then nearest to theirs (energy
distance) is the guess (N, *in). It takes no pair (x, z), no label and no network. A flat z is one channel.

The 'visual invertibility' of Abuadbba et al., "Can We Use Split Learning on 1D CNN Models for Privacy Preserving
Training?", AsiaCCS 2020, section 4, as a number: they put channels beside records and judge by eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View


@dataclass(frozen=True)
class Channel(Attack):
    goal = Goal.INPUTS
    needs = Grant.SMASHED | Grant.AUX

    sample: int = 256  # targets, and auxiliary records, by which the channel is chosen

    def run(self, view: View) -> Tensor:
        z, x = view.smashed, view.aux
        if len(view.cut_shape) == 1 or len(view.cut_shape) != len(view.in_shape):
            z = z.flatten(1)[:, None]  # (N, 1, D)
        some, pool = z[: self.sample], x[: self.sample]

        def distance(channel: int, sign: int) -> float:
            shown = fitted(sign * resampled(some[:, [channel]], view.in_shape), x, view.in_range)
            return energy(shown.flatten(1), pool.flatten(1))

        channel, sign = min(((c, s) for c in range(z.shape[1]) for s in (1, -1)), key=lambda it: distance(*it))
        return fitted(sign * resampled(z[:, [channel]], view.in_shape), x, view.in_range)


def resampled(u: Tensor, shape: tuple[int, ...]) -> Tensor:
    """One channel (N, 1, *positions) at the record's positions, the same in each of its channels: (N, *in)."""
    if u.ndim != len(shape) + 1 or u.ndim == 2:
        return F.interpolate(u, prod(shape), mode="linear").view(-1, *shape)
    mode = "linear" if u.ndim == 3 else "bilinear"
    return F.interpolate(u, shape[1:], mode=mode).expand(-1, *shape)


def fitted(u: Tensor, x: Tensor, in_range: tuple[float, float]) -> Tensor:
    """u (N, *in) with the mean and the standard deviation of x (M, *in) at each position."""
    unit = (u - u.mean(0)) / u.std(0, correction=0).clamp(min=1e-9)
    return (unit * x.std(0, correction=0) + x.mean(0)).clamp(*in_range)


def energy(a: Tensor, b: Tensor) -> float:
    """(n, D), (m, D): energy distance, less the part of b alone, which is the same for all a."""
    return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean())
