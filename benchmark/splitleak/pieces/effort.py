"""What an attack can afford: a quarter of the steps or tries for large records, where each costs much more."""

from __future__ import annotations

from math import prod

from splitleak.contract import Shape

LARGE = 4096  # values of a record, an image of 64x64: a step takes a hundred times as long as one of a heartbeat


def is_large(shape: Shape) -> bool:
    """Whether a record of this shape has LARGE values and more."""
    return prod(shape) >= LARGE


def affordable(count: int, shape: Shape) -> int:
    """The count itself, or a quarter of it (at least 1) for records (*shape) of LARGE values and more."""
    return max(count // 4, 1) if is_large(shape) else count
