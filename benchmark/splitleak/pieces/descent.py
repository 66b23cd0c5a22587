"""One step down a loss."""

from __future__ import annotations

import torch
from torch import Tensor


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """No step where nothing that learns is behind the loss: a client without weights, a defence without a gradient."""
    optimizer.zero_grad()
    if loss.requires_grad:
        loss.backward()
    optimizer.step()
