"""Distances and penalties: variation of neighbouring values, maximum mean discrepancy, a critic's gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def squared_variation(x: Tensor) -> Tensor:
    """(B, C, ...) -> (): squared differences of neighbours, summed over all axes but the channels; 0 if flat."""
    return sum((x.diff(dim=axis).square().sum() for axis in range(2, x.dim())), x.new_zeros(()))


def squared_mmd(a: Tensor, b: Tensor) -> Tensor:
    """(B, D), (B, D) -> (): squared maximum mean discrepancy.

    Its kernel is a sum of five Gaussians, whose variances lie around the mean squared distance.
    """
    n, both = len(a), torch.cat([a, b])
    squared = torch.cdist(both, both).square()  # (2B, 2B)
    scale = squared.detach().sum() / (len(both) * (len(both) - 1))
    kernel = sum((torch.exp(-squared / (scale * 2.0**k)) for k in range(-3, 2)), torch.zeros_like(squared))
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def gradient_between(critic: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    """(B, *cut), (B, *cut) -> (B, D): the critic's gradient at a random point between each pair."""
    share = torch.rand(len(a), *[1] * (a.ndim - 1), device=a.device)
    between = (share * a + (1 - share) * b).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return gradient.flatten(1)
