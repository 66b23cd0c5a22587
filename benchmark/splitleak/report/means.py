"""Means over seeds, with Student's 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev


def interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean, and the half-width of Student's 95 % interval (None for a single value)."""
    if not values:
        return None, None
    if len(values) < 2:
        return values[0], None
    from scipy.stats import t

    return mean(values), float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


def average(values: Sequence[float | None]) -> float | None:
    """Mean over the values that are not None."""
    present = [value for value in values if value is not None]
    return mean(present) if present else None
