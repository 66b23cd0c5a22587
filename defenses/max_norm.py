"""Max-norm (Li et al. 2022): noise along each gradient, so that its norm hides the class.

With the noise each gradient has, on average, the squared norm of the longest gradient of its batch.

Source: Li et al., "Label Leakage and Protection in Two-party Split Learning", ICLR 2022, section 4 (max_norm).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitleak.contract import Defense


@dataclass(frozen=True)
class MaxNorm(Defense):
    """g_j becomes g_j (1 + s_j N(0, 1)) with s_j^2 = |g_max|^2 / |g_j|^2 - 1, so that E |g_j|^2 = |g_max|^2.

    The noise scales a gradient and may flip its sign, but never turns it: with more than two classes, the directions
    still cluster. A gradient of exactly zero stays zero. There is no parameter, as published.
    """

    protocols = ("central", "vanilla", "u_shape")  # it acts while the network learns

    def gradient(self, g: Tensor, y: Tensor) -> Tensor:
        """(B, ...) -> (B, ...), batch by batch."""
        flat = g.double().flatten(1)
        norm = flat.norm(dim=1, keepdim=True)  # (B, 1): in double, for the squares of 1e-17
        push = (norm.max().square() - norm.square()).clamp(min=0).sqrt() * torch.randn_like(norm)
        noisy: Tensor = flat + push * flat / norm.clamp(min=1e-300)
        return noisy.to(g.dtype).view_as(g)
