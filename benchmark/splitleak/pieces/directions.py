"""Directions of gradients, and their lines where a defence reverses gradients at random (`max_norm`)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import View

PROBES, WIDTH = 256, 8


def unit(x: Tensor) -> Tensor:
    """Rows scaled to length 1 (gradients of a trained model are as short as 1e-17); a row of zeros stays zero."""
    x = x / x.abs().amax(-1, keepdim=True).clamp(min=1e-300)  # first, so that the squares of short rows do not vanish
    return F.normalize(x, dim=-1, eps=1e-300)


def only_lines(view: View) -> bool:
    """Whether the defence keeps the line of each gradient but not its sign. Two classes differ by the sign alone.

    Its algorithm is tried on made-up gradients, whose lengths differ by six orders of magnitude as real ones do.
    """
    if view.classes == 2:
        return False
    own = torch.Generator().manual_seed(0)
    size = 10.0 ** (-6 * torch.rand(PROBES, 1, generator=own).double())
    g = size * torch.randn(PROBES, WIDTH, generator=own).double()
    cosine = F.cosine_similarity(view.defense.gradient(g, torch.arange(PROBES) % view.classes), g, dim=1, eps=1e-300)
    return bool((cosine.abs() > 0.999).all() and (cosine < 0).any())


def lines(u: Tensor) -> Tensor:
    """Unit rows (N, D) -> unit rows (N, N), whose cosines are the squared cosines of u: u and -u become the same."""
    values, vectors = torch.linalg.eigh((u @ u.T).square())
    return unit(vectors * values.clamp(min=0).sqrt())


def leading(u: Tensor, k: int) -> Tensor:
    """Rows (N, D) -> unit rows (N, k): the leading eigenvectors of their cosines."""
    return unit(torch.linalg.eigh(u @ u.T).eigenvectors[:, -k:])
