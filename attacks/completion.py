"""Model completion (Fu et al. 2022): train a new head on the own client part with a few labels and pseudo-labels.

A client whose server keeps the labels knows the labels of a few of its own records (hints). Its part of the network was
trained to tell the classes apart, so a simple head on its messages z (N, *cut) may need no more. The head is a linear
classifier of the leading principal components of z, with weight decay. Three rounds follow: every record whose class is
more likely than `sure` joins the labelled ones with that class, and the head is trained again. Guess (N, K):
log-probabilities.

`bottom = "random"` is the null of this attack: the same head on what a client part with fresh weights makes of the
records. What it finds is in the records, and the training put none of it there. It uses no message, so its run on the
null channel finds as much, and the row says `null-leak`. What the trained part leaks is the difference of the two.

Source: Fu et al., "Label Inference Attacks Against Vertical Federated Learning", USENIX Security 2022, section 4
(passive attack). Null: after arXiv 2603.18680, which finds that client parts carry features more than labels.

Differs from the paper:
- Pseudo-labels and a linear head take the place of MixMatch, and the client part is not trained further.
- Unlabelled are the targets. The active attack, a changed optimiser of the client, is not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor

from splitleak.attacks.noisy_labels import fitted, standardised
from splitleak.contract import Attack, BadInput, Goal, Grant, View
from splitleak.pieces import decode


@dataclass(frozen=True)
class Completion(Attack):
    """It needs hints, and the messages or (`random`) the records and the architecture of the own client part."""

    goal = Goal.LABELS
    tasks = ("classes",)

    bottom: Literal["own", "random"] = "own"
    rounds: Annotated[int, Field(ge=0)] = 3
    sure: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    components: Annotated[int, Field(ge=1)] = 64  # principal components of z
    decay: Annotated[float, Field(gt=0)] = 1e-4  # weight decay of the head

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        return Grant.INPUTS | Grant.HINTS | Grant.BOTTOM | (Grant.SMASHED if self.bottom == "own" else Grant(0))

    def run(self, view: View) -> Tensor:
        if view.task.kind != "classes":
            raise BadInput(f"attack 'completion': the task is a {view.task.kind}; this attack needs a task of classes")
        z = view.smashed if self.bottom == "own" else self._of_fresh_weights(view)
        x, (hints, labels) = self._components(z.double().flatten(1)), view.hints  # (N, R + 1)
        known = labels.unique()
        guess = torch.full((len(x), view.classes), -1e4, dtype=x.dtype, device=x.device)  # no hint: below all others
        guess[:, known] = self._log_probabilities(x, hints, torch.searchsorted(known, labels), len(known))
        return guess

    def _log_probabilities(self, x: Tensor, hints: Tensor, y: Tensor, classes: int) -> Tensor:
        """(N, C): of the head after the last round; the hints keep their labels y."""
        index, truth = hints, y
        for k in range(self.rounds + 1):
            head = fitted(x[index], F.one_hot(truth, classes).to(x), self.decay)  # (C, R + 1)
            log = F.log_softmax(x @ head.T, 1).clamp(min=-1e3)
            if k < self.rounds:
                likely, pseudo = log.exp().max(1)
                new = (likely > self.sure).index_fill(0, hints, False).nonzero().flatten()
                index, truth = torch.cat([hints, new]), torch.cat([y, pseudo[new]])
        return log

    def _components(self, z: Tensor) -> Tensor:
        """(N, R + 1): the leading principal components of z (N, D), and a column of ones."""
        scaled = standardised(z)
        centred, ones = scaled[:, :-1], scaled[:, -1:]
        axes = torch.linalg.svd(centred, full_matrices=False).Vh[: self.components]  # (R, D)
        return torch.cat([centred @ axes.T, ones], 1)

    def _of_fresh_weights(self, view: View) -> Tensor:
        """(N, *cut): what the client part makes of the records before any training."""
        bottom = view.bottom
        for module in bottom.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
        return decode(bottom, view.inputs)
