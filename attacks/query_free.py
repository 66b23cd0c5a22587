"""Query-free inversion (He et al. 2019): fit a shadow client to the server's part; invert it.

A shadow with the client's architecture learns the labels of labelled auxiliary records through the server's trained
part, which does not change. Then each record is found by descent, argmin ||shadow(x) - z||^2 + tv * TV(x), or a
decoder learns from pairs (shadow(x), x). The attack needs no query, no pair and no access to the victim's training.
z (N, *cut) -> guess (N, *in). In a u-shape, where the server's part ends in features, the attacker trains a head of
its own together with the shadow.
Cross-entropy alone fixes what the client does for the task, not its coordinates: published SSIM .04 to .74. The search
is the default, as in the paper. The decoder suits a shadow whose messages are like the victim's, because its output
for messages unlike its training messages can be anything.

Source: He, Zhang, Lee, "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019, section 6 (query-free).

Differs from the paper:
- `align` draws the shadow's messages towards the victim's, by the multi-kernel discrepancy of FORA (Xu et al., CVPR
  2024, section 4). 0, the default, is the paper's attack.
- `start = "mean"`, and `restarts` above 1 (the guesses that look most like records are kept), are not of the paper. The
  defaults are.
- `invert = "decoder"` takes the place of the search.
- The shadow sends through the defence, and the search compares by the bounds that the defence leaves to its output
  (`pieces.message_bounds`): an element that was left out is no zero (adaptive).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Attack, Goal, Grant, View, later
from splitleak.pieces import decode, invert_surrogate, most_plausible, squared_mmd, squared_variation, update
from splitleak.pieces.effort import affordable
from splitleak.pieces.message_bounds import Bounds, excess, mean_squared_excess, output_bounds


@dataclass(frozen=True)
class QueryFree(Attack):
    goal = Goal.INPUTS
    needs = Grant.SMASHED | Grant.TOP | Grant.ARCHITECTURE | Grant.AUX | Grant.AUX_LABELS | Grant.DEFENSE

    shadow: int = 2000  # steps of the shadow
    align: float = 0.0  # weight of the discrepancy beside the task's loss
    invert: Literal["search", "decoder"] = "search"  # paper: search
    learn: int = 1500  # steps of the decoder
    search: int = 200  # steps of the search; paper's code: 500
    tv: float = 2.0  # of the search; paper's code: 2
    batch: int = 32
    lr: float = 1e-3
    width: int = 32  # channels of the decoder, and of the head in a u-shape
    start: Literal["middle", "mean"] = later("middle")  # of the search: of in_range, or the mean auxiliary record
    restarts: Annotated[int, Field(ge=1)] = later(1)  # shadows to choose from, a quarter if records are large; paper: 1

    def run(self, view: View) -> Tensor:
        if self.invert == "search":
            tries = affordable(self.restarts, view.in_shape)
            return most_plausible([self._search(view) for _ in range(tries)], view.aux)
        shadow = self._train_shadow(view)
        defense = view.defense
        decoder = invert_surrogate(lambda x: defense.smash(shadow(x)), view, self.learn, self.batch, self.width)
        return decode(decoder, view.smashed)

    def _search(self, view: View) -> tuple[Tensor, float]:
        """Guesses (N, *in) of one shadow, and how far what it sends is from the messages, a mean square."""
        shadow, (low, high) = self._train_shadow(view), view.in_range
        first = view.aux.mean(0) if self.start == "mean" else torch.full_like(view.aux[0], (low + high) / 2)
        bounds = zip(*(bound.split(250) for bound in output_bounds(view.defense, view.smashed)), strict=True)
        pairs = [(self._descend(shadow, z, view.in_range, first), z) for z in bounds]
        with torch.no_grad():
            residual = sum(len(x) * float(mean_squared_excess(shadow(x), z)) for x, z in pairs) / view.targets
        return torch.cat([x for x, _ in pairs]), residual

    def _train_shadow(self, view: View) -> nn.Module:
        """The shadow: x (B, *in) -> z (B, *cut)."""
        x, y, smashed, task, defense, top = view.aux, view.aux_labels, view.smashed, view.task, view.defense, view.top
        shadow, head = view.fresh_bottom().train(), nn.Sequential()
        if view.out_shape is not None:
            wanted = (view.classes,) if task.kind == "classes" else tuple(y.shape[1:])
            head.append(nets.encoder(view.out_shape, wanted, self.width).to(x.device))
        optimizer = torch.optim.Adam([*shadow.parameters(), *head.parameters(), torch.zeros(1)], self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(self.shadow, 1))
        for _ in range(self.shadow):
            i = torch.randint(len(x), (self.batch,), device=x.device)
            sent = defense.smash(shadow(x[i]))
            loss = task.loss(head(top(sent)), y[i])
            if self.align:
                z = smashed[torch.randint(len(smashed), (self.batch,), device=x.device)]
                loss = loss + self.align * squared_mmd(sent.flatten(1), z.flatten(1))
            update(optimizer, loss)
            schedule.step()
        return shadow.eval().requires_grad_(False)

    def _descend(self, shadow: nn.Module, z: Bounds, span: tuple[float, float], first: Tensor) -> Tensor:
        """Bounds of z (B, *cut) -> (B, *in), from the record `first` (*in)."""
        low, high = span
        x = first.repeat(len(z[0]), *[1] * first.dim()).requires_grad_()
        optimizer = torch.optim.Adam([x], 0.1 * (high - low), amsgrad=True)  # paper's code: 0.1
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(self.search, 1))
        for _ in range(self.search):
            (x.grad,) = torch.autograd.grad(excess(shadow(x), z).square().sum() + self.tv * squared_variation(x), x)
            optimizer.step()
            schedule.step()
            x.data.clamp_(low, high)
        return x.detach()
