"""What more than one attack is made of: the inverse of a stand-in for the client, decoding in slices, distances."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak import nets
from splitleak.view import View


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
