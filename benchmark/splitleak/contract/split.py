"""A network in two or three parts: bottom (client), top (server), head (client again, in a u-shape)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class Bottom(nn.Sequential):
    """A row of blocks as the first part of the client: x (B, *in) -> (z (B, *cut), nothing kept)."""

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        for block in self:
            x = block(x)
        return x, ()


class Head(nn.Sequential):
    """A row of blocks as the last part of the client: features (B, *out) -> prediction."""

    def forward(self, features: Tensor, kept: tuple[Tensor, ...]) -> Tensor:  # type: ignore[override]
        for block in self:
            features = block(features)
        return features


class Split(nn.Module):
    """bottom(x) -> (z, kept); top(z) -> features or prediction; head(features, kept) -> prediction.

    `kept` never leaves the client: a U-Net's skips of the client's levels.
    """

    in_shape: tuple[int, ...] = ()  # of a record, its smashed data and the output of the top; known from the
    cut_shape: tuple[int, ...] = ()  # moment that a defence begins
    out_shape: tuple[int, ...] = ()
    in_range: tuple[float, float] = (0.0, 1.0)

    def __init__(self, bottom: nn.Module, top: nn.Module, head: nn.Module | None = None) -> None:
        super().__init__()
        self.bottom, self.top, self.head = bottom, top, head

    def forward(self, x: Tensor) -> Tensor:
        """The prediction of the whole network."""
        z, kept = self.bottom(x)
        out: Tensor = self.top(z)
        return out if self.head is None else cast(Tensor, self.head(out, kept))

    def client_parameters(self) -> list[nn.Parameter]:
        parts = [self.bottom] if self.head is None else [self.bottom, self.head]
        return [p for part in parts for p in part.parameters()]

    def measure(self, in_shape: tuple[int, ...], in_range: tuple[float, float] = (0.0, 1.0)) -> Split:
        """Set the shapes that follow from such records, and their range."""
        self.in_shape, self.in_range = in_shape, in_range
        self.cut_shape, self.out_shape = self.shapes(in_shape)
        return self

    @torch.no_grad()
    def shapes(self, in_shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(*cut, *out): the shape of one record's smashed data, and of the output of the top for it."""
        was = self.training
        device = next(iter(self.parameters()), torch.empty(0)).device
        z, _ = self.eval().bottom(torch.zeros(2, *in_shape, device=device))
        out = self.top(z)
        self.train(was)
        return tuple(z.shape[1:]), tuple(out.shape[1:])


class SmashedOnly(nn.Module):
    """The bottom without what the client keeps: x (B, *in) -> z (B, *cut)."""

    def __init__(self, bottom: nn.Module) -> None:
        super().__init__()
        self.bottom = bottom

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.bottom(x)[0])
