"""Property probe (after Song and Shmatikov 2020): learn a yes/no property from messages about auxiliary records.

The attacker knows the property of auxiliary records, and gets messages about them: by queries (`source = "query"`), or
from the substitute client of `fora`, which whoever reads the wire can learn without a query (`source = "substitute"`).
Both send through the defence, each time with fresh randomness. Ridge regressions and a small network learn the property
from the leading components of these messages, and the one with the least error on left-out auxiliary people counts.
Score (N,) of the targets' messages z (N, *cut): above 0 for yes.

Source: Song and Shmatikov, "Overlearning Reveals Sensitive Attributes", ICLR 2020, section 3.1 (a classifier of
representations). FORA: Xu et al., CVPR 2024, section 4.

Differs from the paper:
- The paper's attacker owns the encoder; this one has queries, or a substitute.
- The choice among rules, by people: a rule that knows the auxiliary people tells nothing about others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from splitleak.attacks.fora import Fora, substitute_of
from splitleak.contract import Attack, Goal, Grant, View
from splitleak.pieces.components import leading
from splitleak.pieces.probe import probe
from splitleak.pieces.shifts import without_shifts


@dataclass(frozen=True)
class PropertyProbe(Attack):
    goal = Goal.PROPERTY

    source: Literal["query", "substitute"] = "query"
    draws: Annotated[int, Field(ge=1)] = 4  # messages for each auxiliary record
    tail: int = 3000  # substitute: steps on the released messages, as in `fora`

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        own = Grant.QUERY if self.source == "query" else Grant.STEPS | Grant.DEFENSE
        return Grant.SMASHED | Grant.AUX | Grant.AUX_LABELS | own

    def run(self, view: View) -> Tensor:
        x, yes = view.aux, view.aux_property  # (M, *in), (M,)
        person = getattr(view, "aux_persons", None)
        if person is None:
            person = torch.arange(len(x), device=x.device)
        sent = torch.cat(self._messages(view, x))  # (draws * M, *cut)
        project = leading(sent)
        rule = probe(project(sent), yes.repeat(self.draws), person.repeat(self.draws))
        return rule(project(view.smashed if self.source == "query" else without_shifts(view)))

    def _messages(self, view: View, x: Tensor) -> list[Tensor]:
        """What the client, or its substitute, sends for auxiliary records, `draws` times."""
        if self.source == "query":
            return [view.query(x) for _ in range(self.draws)]
        substitute = substitute_of(Fora(tail=self.tail), view)[0]
        return [substitute.send(x) for _ in range(self.draws)]
