"""What was trained on fits better: a smaller loss, a shorter gradient, a surer answer. Score (N,), high: a member.

`loss`: minus the loss of the server's part on z (N, *cut) and the labels that were sent (vanilla only). `gradient`:
minus the log of the norm of each target's own gradient, of the features in a u-shape. `activation`: without labels,
how sure the server's part is of its answer (vanilla only: in a u-shape the server sees no answer).

Yeom, Giacomelli, Fredrikson, Jha, "Privacy Risk in Machine Learning", CSF 2018 (loss); Salem et al., "ML-Leaks", NDSS
2019, section 5 (largest probability). One threshold for all targets: the weakest of its kind, without shadow models;
no published figure for a split. Strangers are sent through the release as if they had been trained on.
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
            raise BadInput("attack 'membership': in a u-shape the server sees no answer: source = \"gradient\"")
        top = view.top
        with torch.no_grad():
            answers = torch.cat([top(z) for z in view.smashed.split(256)]).double()  # (N, K), masks or values
        if self.source == "activation":
            return self.sureness(answers, view)
        pairs = zip(answers.split(1), view.labels.split(1), strict=True)
        return -torch.stack([view.task.loss(answer, y) for answer, y in pairs])

    def sureness(self, answers: Tensor, view: View) -> Tensor:
        """(N,): the largest probability of a class, or a pixel's distance from undecided, on average."""
        if view.task.kind == "value":
            raise BadInput('attack \'membership\': a value comes without a probability: source = "loss" or "gradient"')
        if view.task.kind == "classes":
            return answers.log_softmax(1).amax(1)
        return (answers.sigmoid() - 0.5).abs().flatten(1).mean(1)
