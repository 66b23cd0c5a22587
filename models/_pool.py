"""A maximum pool of signals that is several times as fast on a CPU as PyTorch's own, with the same bits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class MaxOfPairs(nn.Module):
    """(..., L) -> (..., L / 2): the larger of each two neighbours; L is even. The same as MaxPool1d(2)."""

    def forward(self, x: Tensor) -> Tensor:
        larger: Tensor = _Larger.apply(x)  # type: ignore[no-untyped-call]
        return larger


class _Larger(torch.autograd.Function):
    """The gradient goes to the larger one, and to the first where both are equal."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
        ctx.save_for_backward(first >= second)
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (to_first,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody differentiates the gradient
            return torch.stack([gradient * to_first, gradient * ~to_first], -1).flatten(-2)
        pairs = gradient.new_empty(*gradient.shape, 2)
        torch.mul(gradient, to_first, out=pairs[..., 0])
        torch.mul(gradient, ~to_first, out=pairs[..., 1])
        return pairs.flatten(-2)
