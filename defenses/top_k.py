"""RandTopk (Zheng et al. 2023): send only the largest elements of each record's smashed data.

Zeros are sent in place of all other elements. The method is meant to save bytes; privacy is a by-product.

Source: Zheng, Chen, Lyu, Yao, "Reducing Communication for Split Learning by Randomized Top-k Sparsification", IJCAI
2023, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from splitleak.contract import Defense, Hooks, Split


@dataclass(frozen=True)
class TopK(Defense):
    """Keeps the k elements of largest magnitude of each record, k = keep * all (at least 1), unchanged.

    In training each of the k is, with probability alpha, one from outside the largest in place of one of them
    (RandTopk); after training always the largest are sent. The gradient passes through the elements that were sent
    alone.
    """

    keep: Annotated[float, Field(gt=0, le=1)] = 0.1  # share of the elements
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.1  # 0: always the largest, also in training

    def begin(self, split: Split, seed: int) -> Hooks:
        return _Live(self)

    def smash(self, z: Tensor) -> Tensor:
        """(B, *cut) -> (B, *cut), as it is done after training."""
        return self._sparse(z, 0.0)

    def _sparse(self, z: Tensor, alpha: float) -> Tensor:
        flat = z.detach().flatten(1)  # (B, D)
        k = max(1, round(self.keep * flat.shape[1]))
        order = flat.abs().argsort(1, descending=True)  # (B, D): the largest k first
        kept = torch.zeros_like(flat)
        kept[:, :k] = 1
        if alpha and k < flat.shape[1]:
            outside = (torch.rand_like(flat[:, :k]) < alpha).sum(1, keepdim=True)  # (B, 1)
            outside = outside.clamp(max=flat.shape[1] - k)
            ranks = [torch.rand_like(part).argsort(1) for part in (flat[:, :k], flat[:, k:])]  # a shuffle of each part
            kept = torch.cat([ranks[0] < k - outside, ranks[1] < outside], 1).to(z.dtype)
        return z * torch.zeros_like(flat).scatter(1, order, kept).view_as(z)


class _Live(nn.Module, Hooks):
    """The live form. It learns nothing; it is a module so that the harness sets its mode, training or not."""

    def __init__(self, defense: TopK) -> None:
        super().__init__()
        self.defense = defense

    def state(self) -> dict[str, Any]:
        """Only buffers of this module change in training."""
        return {}

    def smash(self, z: Tensor) -> Tensor:
        return self.defense._sparse(z, self.defense.alpha if self.training else 0.0)
