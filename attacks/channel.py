"""Best channel (Abuadbba et al. 2020): show the channel of smashed data most like a record.

Close to the input, a channel of z is often still the record, only shorter and on another scale. Each channel of
z (N, *cut) is resampled to the positions of a record, as it is and with the sign changed, and given the mean and the
standard deviation that auxiliary records have at each position. The guess (N, *in) is the channel whose distribution
is then nearest to the auxiliary records' (energy distance). The attack uses no pair (x, z), no label and no network.
A flat z counts as one channel.

Source: "visual invertibility" of Abuadbba et al., "Can We Use Split Learning on 1D CNN Models for Privacy Preserving
Training?", AsiaCCS 2020, section 4.

Differs from the paper:
- The attack makes a guess that is scored. The paper puts channels beside records and judges by eye.
- If the defence adds one of a few tensors, these shifts are removed first (`pieces.shifts`, adaptive).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View
from splitleak.pieces.shifts import without_shifts


@dataclass(frozen=True)
class Channel(Attack):
    goal = Goal.INPUTS
    needs = Grant.SMASHED | Grant.AUX | Grant.DEFENSE

    sample: int = 256  # targets, and as many auxiliary records, on which the channel is chosen

    def run(self, view: View) -> Tensor:
        z, x = without_shifts(view), view.aux
        if len(view.cut_shape) == 1 or len(view.cut_shape) != len(view.in_shape):
            z = z.flatten(1)[:, None]  # (N, 1, D)
        few_z, few_x = z[: self.sample], x[: self.sample]

        def distance(channel: int, sign: int) -> float:
            guess = rescaled(sign * resampled(few_z[:, [channel]], view.in_shape), x, view.in_range)
            return energy_distance(guess.flatten(1), few_x.flatten(1))

        channel, sign = min(((c, s) for c in range(z.shape[1]) for s in (1, -1)), key=lambda pair: distance(*pair))
        return rescaled(sign * resampled(z[:, [channel]], view.in_shape), x, view.in_range)


def resampled(u: Tensor, shape: tuple[int, ...]) -> Tensor:
    """One channel (N, 1, *positions) -> (N, *in): interpolated, and repeated in each channel of the record."""
    if u.ndim != len(shape) + 1 or u.ndim == 2:
        return F.interpolate(u, prod(shape), mode="linear").view(-1, *shape)
    mode = "linear" if u.ndim == 3 else "bilinear"
    return F.interpolate(u, shape[1:], mode=mode).expand(-1, *shape)


def rescaled(u: Tensor, x: Tensor, in_range: tuple[float, float]) -> Tensor:
    """u (N, *in) with the mean and the standard deviation of x (M, *in) at each position."""
    unit = (u - u.mean(0)) / u.std(0, correction=0).clamp(min=1e-9)
    return (unit * x.std(0, correction=0) + x.mean(0)).clamp(*in_range)


def energy_distance(a: Tensor, b: Tensor) -> float:
    """(n, D), (m, D) -> energy distance, without its term of b alone, which is the same for all a."""
    return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean())
