"""Gradients Scrutinizer (Fu et al. 2023): detect a hijack by gradients that ignore the labels.

Passive: nothing that is sent changes. An honest server's gradients depend on the labels: those of records of one class
are similar, those of different classes are not. A hijacker's gradients do not depend on the labels. In each batch the
cosine similarities of the records' own gradients are split into pairs of the same label and pairs of different labels.
The score is the area under the ROC curve: the probability that a pair of the same label is more similar than a pair of
different labels (1 honest, .5 hijacked), first in each batch, then its mean over a sliding window.

Source: Fu et al., "Focusing on Pinocchio's Nose: A Gradients Scrutinizer to Thwart Split-Learning Hijacking Attacks
Using Intrinsic Attributes", NDSS 2023.
Differs from the paper:
- In the paper one score combines the gap between the two sets' means, the overlap of their bands, and the error of a
  parabola fitted to the means over time. The statistic above is new in this project and has no such constants.
- It uses ranks alone, so gradients that become small and noisy late in training do not lower it. But where a hijacker's
  target depends on the class, its gradients do too, and the area rises above .5.
- The threshold is the middle of what seeds 100-103 of `ecg` showed: never below .90 in honest training, never above .64
  under FSHA.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from splitleak.contract import BadInput, Defense, Detected, Hooks, Split


@dataclass(frozen=True)
class Scrutinizer(Defense):
    """Detected when the mean area over the last `window` batches is below the threshold. Classes only.

    Several clients share one window, as if they exchanged their areas.
    """

    protocols = ("central", "vanilla", "u_shape")  # it acts while the network learns
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.75
    window: Annotated[int, Field(ge=1)] = 10  # batches
    warmup: Annotated[int, Field(ge=0)] = (
        20  # first batches, which are ignored: an untrained top may separate few classes
    )

    def begin(self, split: Split, seed: int) -> Hooks:
        return _Live(self)


class _Live(Hooks):
    """The live form: it counts batches and keeps the areas of the last ones."""

    def __init__(self, defense: Scrutinizer) -> None:
        self.defense, self.batches = defense, 0
        self.areas: deque[float] = deque(maxlen=defense.window)

    def inspect(self, g: Tensor, y: Tensor) -> None:
        """g (B, *cut)."""
        self.batches += 1
        area = separation(g, y)
        if self.batches <= self.defense.warmup or area is None:
            return
        self.areas.append(area)
        mean = sum(self.areas) / len(self.areas)
        if len(self.areas) == self.defense.window and mean < self.defense.threshold:
            raise Detected(f"scrutinizer: gradients separate the labels with area {mean:.3f} only")

    def state(self) -> dict[str, Any]:
        return {"batches": self.batches, "areas": list(self.areas)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.batches, self.areas = state["batches"], deque(state["areas"], maxlen=self.defense.window)


def separation(g: Tensor, y: Tensor) -> float | None:
    """Gradients (B, *cut), classes (B,) -> area under the curve; None if a batch has pairs of one kind only."""
    if y.dim() != 1 or y.is_floating_point():
        raise BadInput("defense 'scrutinizer': it needs labels of classes")
    rows = g.flatten(1).double()
    size = rows.norm(dim=1)
    moving = size > 0  # a record that is learned perfectly has a gradient of 0, which has no direction
    unit, y = rows[moving] / size[moving, None], y[moving]
    i, j = torch.triu_indices(len(y), len(y), 1, device=y.device)
    similar, alike = (unit @ unit.T)[i, j], y[i] == y[j]
    same, other = similar[alike], similar[~alike].sort().values
    if not len(same) or not len(other):
        return None
    twice = torch.searchsorted(other, same) + torch.searchsorted(other, same, right=True)  # a tie counts half
    return float(twice.double().mean() / (2 * len(other)))
