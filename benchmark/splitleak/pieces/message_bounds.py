"""What a message says about the client's output where nobody may query: each element lies between two bounds.

Made-up outputs, with the mean and the deviation that each element has on the wire, are sent through the algorithm of
the defence. They show what it does (`learned_channel`): by what it multiplies, and whether a zero is an element that
was left out, at random (no bound) or because it was small. Bounds are equal where an element is sent as it is, with
noise or without, and where it is rounded: without a prior the middle of its interval is the best guess.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import Defense
from splitleak.pieces.learned_channel import Bounds, learn_channel

__all__ = ["Bounds", "excess", "mean_squared_excess", "output_bounds"]

MADE_UP = 512


def output_bounds(defense: Defense, z: Tensor) -> Bounds:
    """Messages (N, *cut) -> the least and the largest output (N, *cut) of the client; both are z without a defence."""
    own = torch.Generator(z.device).manual_seed(0)
    noise = torch.randn(MADE_UP, *z.shape[1:], generator=own, device=z.device, dtype=z.dtype)
    outputs = z.mean(0) + z.std(0) * noise
    channel = learn_channel(outputs, defense.smash(outputs), defense.smash)
    if channel.cells is not None:
        return z, z
    if channel.gain == 0:  # messages have nothing to do with the output
        return torch.full_like(z, -torch.inf), torch.full_like(z, torch.inf)
    low, high = (bound / channel.gain for bound in channel.bounds(z))
    return torch.minimum(low, high), torch.maximum(low, high)


def excess(output: Tensor, bounds: Bounds) -> Tensor:
    """(B, *cut): by how much each element lies outside of its bounds."""
    low, high = bounds
    return (low - output).relu() + (output - high).relu()


def mean_squared_excess(output: Tensor, bounds: Bounds) -> Tensor:
    """(): over the elements that have a bound; the mean squared error where bounds are equal."""
    if torch.equal(*bounds):
        return F.mse_loss(output, bounds[0])
    bounded = (bounds[0].isfinite() | bounds[1].isfinite()).sum().clamp(min=1)
    return excess(output, bounds).square().sum() / bounded
