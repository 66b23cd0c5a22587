"""What more than one attack is made of: the inverse of a stand-in for the client, decoding in slices, distances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract.view import View


def inverse_of(send: Callable[[Tensor], Tensor], view: View, steps: int, batch: int, width: int) -> nn.Module:
    """(B, *cut) -> (B, *in), learned on what a stand-in for the client sends for the auxiliary records."""
    aux = view.aux
    decoder = nets.decoder(view.cut_shape, view.in_shape, view.in_range, width).to(aux.device)
    optimizer = torch.optim.Adam(decoder.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for _ in range(steps):
        x = aux[torch.randint(len(aux), (batch,), device=aux.device)]  # (B, *in)
        with torch.no_grad():
            z = send(x)
        loss = F.mse_loss(decoder(z), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return decoder


def lessons(view: View, own: Tensor, batch: int, reuse: int = 4) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (z (B, *cut), positions in `own` (B,)): what the client sends for own records (n, *in).

    Signals and flat records are asked anew for each batch. An image's way through a deep client costs more than the
    attacker's own step, so there the answers to a whole set (at most 256 MiB) serve for `reuse` passes, and for good
    once a second set, asked in another order, is the same: nothing random, nothing that depends on the batch.
    """
    if len(view.in_shape) < 3:
        while True:
            i = torch.randint(len(own), (batch,), device=own.device)
            yield view.query(own[i]), i
    most, steady, before = max(2**26 // prod(view.cut_shape), batch), False, None
    while True:
        if not steady:
            order = torch.randperm(len(own), device=own.device)[:most]
            z = view.query(own[order])  # (n, *cut)
            if len(order) == len(own):
                z, order = z[order.argsort()], order.sort().values
                steady, before = before is not None and torch.allclose(before, z, rtol=1e-3, atol=1e-4), z
        for _ in range(max(reuse * len(order) // batch, 1)):
            i = torch.randint(len(order), (batch,), device=own.device)
            yield z[i], order[i]


@torch.no_grad()
def decode(decoder: nn.Module, z: Tensor) -> Tensor:
    """(N, *cut) -> (N, *in), in eval mode and in slices."""
    decoder.eval()
    return torch.cat([decoder(part) for part in z.split(256)])


def roughness(x: Tensor) -> Tensor:
    """(B, C, ...) -> (): squared differences of neighbours, along every axis but the channels'; 0 of flat records."""
    return sum((x.diff(dim=axis).square().sum() for axis in range(2, x.dim())), x.new_zeros(()))


def discrepancy(a: Tensor, b: Tensor) -> Tensor:
    """(B, D), (B, D) -> (): squared maximum mean discrepancy, five Gaussian kernels around the mean distance."""
    n, both = len(a), torch.cat([a, b])
    squared = torch.cdist(both, both).square()  # (2B, 2B)
    scale = squared.detach().sum() / (len(both) * (len(both) - 1))
    kernel = sum((torch.exp(-squared / (scale * 2.0**k)) for k in range(-3, 2)), torch.zeros_like(squared))
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def slope_between(critic: nn.Module, ours: Tensor, theirs: Tensor) -> Tensor:
    """The critic's gradient at a random point between each pair: (B, D)."""
    share = torch.rand(len(ours), *[1] * (ours.ndim - 1), device=ours.device)
    between = (share * ours + (1 - share) * theirs).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return slope.flatten(1)
