"""Distances and penalties: variation of neighbours, maximum mean discrepancy, a critic's gradient, nearest records."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


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


def most_plausible(found: list[tuple[Tensor, float]], aux: Tensor) -> Tensor:
    """Of solutions, guesses (N, *in) with their residual: the one whose guesses look most like records (M, *in).

    A mirrored solution can fit as well as the true one, so that every residual of at most twice the least counts as
    equal. Among these the least maximum mean discrepancy from the records decides.
    """
    least = min(residual for _, residual in found)
    fitting = [guess for guess, residual in found if residual <= 2 * least]
    n = min(len(fitting[0]), len(aux), 1000)
    return min(fitting, key=lambda guess: float(squared_mmd(guess[:n].flatten(1), aux[:n].flatten(1))))


def gradient_between(critic: Callable[[Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """(B, *cut), (B, *cut) -> (B, D): the critic's gradient at a random point between each pair."""
    share = torch.rand(len(a), *[1] * (a.ndim - 1), device=a.device)
    between = (share * a + (1 - share) * b).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return gradient.flatten(1)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(N, M): the squared distance of each a (N, ...) from each b (M, ...), less a's own |a|^2; double, on the CPU.

    Computed as |b|^2 - 2 a.b around the mean b, slice by slice, and a slice holds at most 128 MB.
    """
    a, b = a.detach().cpu().flatten(1), b.detach().cpu().flatten(1)
    width = max(1, min(4096, 2**24 // max(len(a), len(b))))
    distance = torch.zeros(len(a), len(b), dtype=torch.float64)
    for p, q in zip(torch.split(a, width, 1), torch.split(b, width, 1), strict=True):
        centre = q.double().mean(0)
        p, q = p - centre, q - centre
        distance += q.square().sum(1) - 2 * p @ q.T
    return distance


def nearest(a: Tensor, b: Tensor) -> Tensor:
    """(N,): the position in b (M, ...) of the record nearest to each a (N, ...)."""
    return squared_distances(a, b).argmin(1)
