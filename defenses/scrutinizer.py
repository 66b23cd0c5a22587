"""An honest gradient knows the label: records of one class are pulled alike, others apart; a hijacker's is blind to it.

Passive: nothing sent changes. In each batch the cosine similarities of the records' own gradients fall into pairs of
the same label and pairs of different ones. Fu et al., "Focusing on Pinocchio's Nose: A Gradients Scrutinizer to
Thwart Split-Learning Hijacking Attacks Using Intrinsic Attributes", NDSS 2023: there the gap between the two sets'
means, the overlap of their bands and the error of a parabola fitted to the means over time go into one score.

The statistic here is ours and has no such constants: the area under the ROC curve, the chance that a pair of the same
label is more similar than one of different labels (1 honest, .5 hijacked), in each batch by itself, then its mean over
a sliding window. It is of ranks, so gradients that shrink and grow noisy late in training keep it; but where what a
hijacker pulls towards depends on the class, so do its gradients, and the area rises above .5. The threshold lies in
the middle of what seeds 100-103 of `ecg` showed: never below .90 in honest training, never above .64 under FSHA.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from splitleak.contract import BadInput, Defense, Detected, Hooks, Split


@dataclass(frozen=True)
class Scrutinizer(Defense):
    """Detected when the mean area over the last `window` batches is below the threshold. Classes only.

    Several clients share one window, as if they told each other what they see.
    """

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.75
    window: Annotated[int, Field(ge=1)] = 10  # batches
    warmup: Annotated[int, Field(ge=0)] = 20  # first batches left out: an untrained top may tell few classes apart

    def begin(self, split: Split, seed: int) -> Hooks:
        return Watch(self)


class Watch(Hooks):
    """The live scrutinizer: the areas of the last batches."""

    def __init__(self, told: Scrutinizer) -> None:
        self.told, self.seen = told, 0
        self.areas: deque[float] = deque(maxlen=told.window)

    def inspect(self, g: Tensor, y: Tensor) -> None:
        """g (B, *cut)."""
        self.seen += 1
        area = separation(g, y)
        if self.seen <= self.told.warmup or area is None:
            return
        self.areas.append(area)
        mean = sum(self.areas) / len(self.areas)
        if len(self.areas) == self.told.window and mean < self.told.threshold:
            raise Detected(f"scrutinizer: gradients tell labels apart with area {mean:.3f} only")


def separation(g: Tensor, y: Tensor) -> float | None:
    """Gradients (B, *cut), classes (B,) -> area under the curve; None where a batch has pairs of one kind alone."""
    if y.dim() != 1 or y.is_floating_point():
        raise BadInput("defense 'scrutinizer': it needs labels of classes")
    rows = g.flatten(1).double()
    size = rows.norm(dim=1)
    told = size > 0  # a record that is learned for good has no direction
    unit, y = rows[told] / size[told, None], y[told]
    i, j = torch.triu_indices(len(y), len(y), 1, device=y.device)
    similar, alike = (unit @ unit.T)[i, j], y[i] == y[j]
    same, other = similar[alike], similar[~alike].sort().values
    if not len(same) or not len(other):
        return None
    beaten = torch.searchsorted(other, same) + torch.searchsorted(other, same, right=True)  # ties count half
    return float(beaten.double().mean() / (2 * len(other)))
