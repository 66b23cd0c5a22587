"""Linkage (after Hatch et al. 2006): embed messages so that those of one person lie together, by whitening.

Two messages are of one person if the cosine of their embeddings is high. Guess (N, D). Without training data of his own
(`learned = false`) the attacker centres the messages z (N, *cut) and whitens them with their own covariance; before, he
removes the shifts if the defence adds one of a few (`pieces.shifts`). With auxiliary records of known people
(`learned = true`) he gets messages about them, through the defence: by queries or, without any, from the substitute
client of `fora` (`source = "substitute"`). He learns twice from these: least squares from messages to records, which
leaves out what the defence's noise alone moves; and the whitening under which decoded records of the same person differ
as little as possible, made of the covariance of their deviations from the person's mean. Cross-validation over
auxiliary people chooses its shrinkage.

Source: Hatch, Kajarekar, Stolcke, "Within-Class Covariance Normalization for SVM-based Speaker Recognition",
Interspeech 2006, section 3. Linkability is one of the three risks of anonymisation in opinion WP216 (2014) of the
Article 29 Working Party. No published attack links the messages of split learning.

Differs from the paper:
- The similarity is a cosine, as later in speaker verification, and no support vector machine.
- Records decoded from messages take the place of the messages. Behind noise of epsilon 5 this lifted the AUC from .81
  to .89 (one victim, seed 0). The leading components, at most 256, take the place of the whole.
- The substitute: behind dropout it links with an AUC of .93, where whitening alone has .67 (one victim, seed 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from splitleak.attacks.fora import Fora, substitute_of
from splitleak.contract import Attack, BadInput, Goal, Grant, View, later
from splitleak.pieces.components import best_map, leading, whitened
from splitleak.pieces.shifts import without_shifts


@dataclass(frozen=True)
class Linkage(Attack):
    goal = Goal.LINKAGE

    learned: bool = False  # from auxiliary people, and messages about their records
    source: Literal["query", "substitute"] = later("query")  # learned: whose messages
    shrink: Annotated[float, Field(gt=0)] = 1.0  # not learned: added to the covariance, as a share of its mean variance
    draws: Annotated[int, Field(ge=1)] = 2  # learned: queries of each auxiliary record, with fresh noise
    ridge: Annotated[float, Field(gt=0)] = 0.01  # learned: of the least squares, as a share of the mean variance
    tail: int = later(3000)  # substitute: steps on the released messages, as in `fora`

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        if not self.learned:
            return Grant.SMASHED | Grant.DEFENSE
        sender = Grant.QUERY if self.source == "query" else Grant.STEPS | Grant.DEFENSE
        return Grant.SMASHED | Grant.AUX | Grant.AUX_LABELS | sender

    def run(self, view: View) -> Tensor:
        if not self.learned:
            z = without_shifts(view)
            f = leading(z)(z)  # (N, D)
            return f @ whitened(f, self.shrink)
        person = getattr(view, "aux_persons", None)  # (M,)
        if person is None or len(person.unique()) < 2:
            raise BadInput("attack 'linkage': to learn it needs auxiliary records of two known people or more")
        z, send = view.smashed, view.query
        if self.source == "substitute":
            z, send = without_shifts(view), substitute_of(Fora(tail=self.tail), view)[0].send
        sent = torch.cat([send(view.aux) for _ in range(self.draws)])  # (draws * M, *cut)
        project = leading(sent)
        f = project(sent)  # (draws * M, E)
        x = view.aux.flatten(1).double().repeat(self.draws, 1)  # (draws * M, in)
        size = f.square().mean() * torch.eye(f.shape[1], dtype=f.dtype, device=f.device)
        decode = torch.linalg.solve(f.T @ f / len(f) + self.ridge * size, f.T @ (x - x.mean(0)) / len(f))  # (E, in)
        known, guess = leading(f @ decode), project(z) @ decode
        apart = best_map(known(f @ decode), person.repeat(self.draws))
        return (known(guess) - known(guess).mean(0)) @ apart
