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
from torch import Tensor, nn

from splitleak.attacks.fora import Fora, substitute_of
from splitleak.contract import Attack, Goal, Grant, View
from splitleak.nets import critic
from splitleak.pieces.components import leading
from splitleak.pieces.probe import Examples, Rule, best_rule, ridges


@dataclass(frozen=True)
class PropertyProbe(Attack):
    goal = Goal.PROPERTY

    source: Literal["query", "substitute"] = "query"
    draws: Annotated[int, Field(ge=1)] = 4  # messages for each auxiliary record
    steps: Annotated[int, Field(ge=1)] = 400  # of the network
    lr: float = 1e-3
    width: int = 16  # a quarter of the network's hidden units
    decay: float = 1e-2  # weight decay of the network
    tail: int = 3000  # substitute: steps on the released messages, as in `fora`

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        own = Grant.QUERY if self.source == "query" else Grant.STEPS | Grant.DEFENSE
        return Grant.SMASHED | Grant.AUX | Grant.AUX_LABELS | own

    def run(self, view: View) -> Tensor:
        x, answer = view.aux, 2.0 * view.aux_property.double() - 1  # (M, *in), (M,)
        person = getattr(view, "aux_persons", None)
        if person is None:
            person = torch.arange(len(x), device=x.device)
        sent = torch.cat(self._messages(view, x))  # (draws * M, *cut)
        project = leading(sent)
        examples = Examples(project(sent), answer.repeat(self.draws), person.repeat(self.draws))
        rule = best_rule(examples, [ridges, self._networks])
        return rule(project(view.smashed))

    def _messages(self, view: View, x: Tensor) -> list[Tensor]:
        """What the client, or its substitute, sends for auxiliary records, `draws` times."""
        if self.source == "query":
            return [view.query(x) for _ in range(self.draws)]
        substitute = substitute_of(Fora(tail=self.tail), view)[0]
        return [substitute.send(x) for _ in range(self.draws)]

    def _networks(self, examples: Examples) -> list[Rule]:
        """A network with two hidden layers, trained on batches in which every person is drawn equally often."""
        scale, answer = examples.f.std(0).clamp(min=1e-6), examples.answer.float()
        f, weight = (examples.f / scale).float(), examples.weight
        network = critic(tuple(examples.f.shape[1:]), self.width).to(examples.f.device)
        optimizer = torch.optim.AdamW(network.parameters(), self.lr, weight_decay=self.decay)
        for _ in range(self.steps):
            rows = torch.multinomial(weight, 128, replacement=True)
            output = network(f[rows])[:, 0]
            optimizer.zero_grad()
            (output - answer[rows]).square().mean().backward()
            optimizer.step()
        return [Trained(network, scale)]


@dataclass(frozen=True)
class Trained:
    """A trained network as a rule."""

    network: nn.Module
    scale: Tensor  # (D,)

    @torch.no_grad()
    def __call__(self, f: Tensor) -> Tensor:
        output: Tensor = self.network((f / self.scale).float())[:, 0]
        return output.double()
