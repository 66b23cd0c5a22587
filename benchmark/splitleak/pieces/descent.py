"""One step down a loss."""

from __future__ import annotations

import torch
from torch import Tensor


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Only for what the optimizer holds are gradients computed, not for other networks that the loss passes.

    No step where nothing that learns is behind the loss: a client without weights, a defence without a gradient.
    """
    optimizer.zero_grad()
    held = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    if held and loss.requires_grad:
        loss.backward(inputs=held)
    optimizer.step()
