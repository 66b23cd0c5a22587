"""What `toy_net.py` imports."""

from __future__ import annotations

from torch import Tensor, nn

WIDTH = 16


class Squash(nn.Module):
    """(B, ...) -> (B, 64): the first values."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :64]
