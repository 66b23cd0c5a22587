"""Membership (Yeom et al. 2018): score targets by loss, gradient norm or confidence.

A model fits the records that it was trained on better: their loss is smaller, their gradient is shorter, its output
for them is more confident. Score (N,): high means member.
`loss`: minus the loss of the server's part on z (N, *cut) and the labels that were sent (vanilla only).
`gradient`: minus the log of the norm of each target's own gradient; in a u-shape the gradient of the features.
`activation`: the confidence of the server's part, without labels (vanilla only: in a u-shape the server has no output).
One threshold holds for all targets and there are no shadow models, so this is the weakest attack of its kind. No
published figure exists for a split network. Non-members pass through the release as if they had been trained on.

Source: Yeom, Giacomelli, Fredrikson, Jha, "Privacy Risk in Machine Learning", CSF 2018 (loss); Salem et al.,
"ML-Leaks", NDSS 2019, section 5 (largest probability).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from splitleak.contract import Attack, BadInput, Goal, Grant, View

NEEDS = {
    "loss": Grant.SMASHED | Grant.TOP | Grant.LABELS,
    "gradient": Grant.GRADIENT,
    "activation": Grant.SMASHED | Grant.TOP,
}


@dataclass(frozen=True)
class Membership(Attack):
    goal = Goal.MEMBERSHIP

    source: Literal["loss", "gradient", "activation"] = "loss"

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        return NEEDS[self.source]

    def run(self, view: View) -> Tensor:
        if self.source == "gradient":
            g = (view.gradient if view.out_shape is None else view.gradient_features).double().flatten(1)
            size: Tensor = g.norm(dim=1).clamp(min=1e-300).log()
            return -size
        if view.out_shape is not None:
            raise BadInput("attack 'membership': in a u-shape the server has no output; set source = \"gradient\"")
        top = view.top
        with torch.no_grad():
            outputs = torch.cat([top(z) for z in view.smashed.split(256)]).double()  # (N, K), masks or values
        if self.source == "activation":
            return self._confidence(outputs, view)
        pairs = zip(outputs.split(1), view.labels.split(1), strict=True)
        return -torch.stack([view.task.loss(output, y) for output, y in pairs])

    def _confidence(self, outputs: Tensor, view: View) -> Tensor:
        """(N,): log of the largest class probability; for masks the mean distance of a probability from 1/2."""
        if view.task.kind == "value":
            raise BadInput(
                'attack \'membership\': a predicted value has no probability; set source = "loss" or "gradient"'
            )
        if view.task.kind == "classes":
            return outputs.log_softmax(1).amax(1)
        return (outputs.sigmoid() - 0.5).abs().flatten(1).mean(1)
