"""SplitSpy (Fu et al. 2023): FSHA that sends honest replies to batches with false labels.

SplitGuard detects a hijack by batches with false labels: an honest server's gradients differ on them, a hijacker's do
not. Here the server's own part, which goes on learning the task, finds such batches by their high loss, and they get
the honest gradient. Everything else is `fsha`. z (N, *cut) -> guess (N, *in).

Source: Fu et al., "Focusing on Pinocchio's Nose", NDSS 2023, against SplitGuard.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from splitleak.attacks.fsha import FSHA
from splitleak.contract import Grant, Step, Task, View


@dataclass(frozen=True)
class SplitSpy(FSHA):
    """The parameters are those of `fsha`."""

    formerly: ClassVar[dict[str, Any]] = {"name": "fsha", "spy": True}

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        return super().needs | Grant.TOP | Grant.LABELS

    def run(self, view: View) -> Tensor:
        return self._hijack(view, FalseLabelDetector(view.task).detects)


class FalseLabelDetector:
    """It compares the loss of a batch under the server's own part with the losses of the last 50 batches."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.losses: deque[float] = deque(maxlen=50)

    @torch.no_grad()
    def detects(self, step: Step) -> bool:
        """Whether the loss lies more than three median absolute deviations above the median.

        False labels in a tenth of the batches hardly move a median.
        """
        self.losses.append(self.task.loss(step.top(step.smashed), step.labels).item())
        recent = torch.tensor(self.losses, dtype=torch.float64)
        median = recent.median()
        return bool(recent[-1] > median + 3 * (recent - median).abs().median())
