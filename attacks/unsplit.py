"""UnSplit (Erdogan et al. 2022): descend on records and on a clone of the client in turn.

Coordinate descent between guesses x (N, *in), which start at the middle of the range, and a clone with the client's
architecture. x descends on MSE(clone(x), z) + tv * TV(x) + l2 * mean(x^2) while the clone is fixed; then the clone's
weights descend on MSE(clone(x), z) while x is fixed. The attack needs no query, no auxiliary record and no label.
z (N, *cut) -> guess (N, *in).
Only in_range and the clone's first weights fix the sign and the scale of a guess. A mirrored, shifted or flattened
guess can explain z as well, and the fit to the messages does not show this error. Whoever has auxiliary records can
start at their mean (`start`), try several clones (`restarts`) and keep the guesses that look most like records.

Source: Erdogan, Kupcu, Cicek, "UnSplit: Data-Oblivious Model Inversion, Model Stealing, and Label Inference Attacks
Against Split Learning", WPES 2022, section 3.

Differs from the paper:
- The paper takes one target at a time, with 1000 rounds of 100 + 100 steps each. Here all targets share one clone, a
  slice of targets at a time, with larger steps. This is the stronger setting, because there is only one client and N
  messages together determine its weights better; it is also the only affordable one.
- `start = "mean"` and `restarts` above 1 are not of the paper. The defaults are.
- Each message is compared with what the clone sends by the bounds that the defence leaves (`pieces.message_bounds`):
  an element that was left out is no zero (adaptive).
- The paper's pull to zero (l2 = 1) is left out: the clone compensates for it at no cost, and every guess shrinks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from splitleak.contract import Attack, Goal, Grant, View, later
from splitleak.pieces import affordable, most_plausible, update
from splitleak.pieces.message_bounds import Bounds, mean_squared_excess, output_bounds


@dataclass(frozen=True)
class Unsplit(Attack):
    goal = Goal.INPUTS

    rounds: int = 25  # paper: 1000
    inner: int = 10  # steps on every target's guess in a round; paper: 100
    clone: int = 100  # steps on the clone in a round, each on one slice; paper: 100
    lr: float = 0.01  # of the guesses, in widths of in_range; paper: 1e-3
    lr_clone: float = 1e-3  # paper: 1e-3
    tv: float = 0.1  # paper: 0.1
    l2: float = 0.0  # paper: 1
    slice: int = 100  # targets at a time, a quarter of them if records are large (`pieces.affordable`); paper: 1
    start: Literal["middle", "mean"] = later("middle")  # of in_range; or the mean auxiliary record; paper: middle
    restarts: Annotated[int, Field(ge=1)] = later(1)  # solutions to choose from, a quarter if large; paper: 1

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        needs = Grant.SMASHED | Grant.ARCHITECTURE | Grant.DEFENSE
        return needs | Grant.AUX if self.start == "mean" else needs

    def run(self, view: View) -> Tensor:
        tries = affordable(self.restarts, view.in_shape)
        found = [self._solve(view)[:2] for _ in range(tries)]  # guesses (N, *in) with their residuals
        if self.start == "mean":
            return most_plausible(found, view.aux)
        return min(found, key=lambda one: one[1])[0]

    def _solve(self, view: View) -> tuple[Tensor, float, nn.Module]:
        """Guesses (N, *in), the mean square by which what the clone sends misses the messages, and the clone."""
        smashed, (low, high) = view.smashed, view.in_range
        first = torch.full(view.in_shape, (low + high) / 2, device=smashed.device)
        if self.start == "mean":
            first = view.aux.mean(0)
        clone = view.fresh_bottom().eval()
        together = affordable(self.slice, view.in_shape)
        bounds = zip(*(bound.split(together) for bound in output_bounds(view.defense, smashed)), strict=True)
        parts = [(z, first.repeat(len(z[0]), *[1] * first.dim()).requires_grad_()) for z in bounds]
        optimizers = [torch.optim.Adam([x], self.lr * (high - low), amsgrad=True) for _, x in parts]
        clone_optimizer = torch.optim.Adam([*clone.parameters(), torch.zeros(1)], self.lr_clone, amsgrad=True)
        for _ in range(self.rounds):
            clone.requires_grad_(False)
            for (z, x), optimizer in zip(parts, optimizers, strict=True):
                for _ in range(self.inner):
                    self._improve(clone, z, x, optimizer)
                    x.data.clamp_(low, high)
            clone.requires_grad_(True)
            self._train_clone(clone, parts, clone_optimizer)
        with torch.no_grad():
            residual = sum(len(x) * float(mean_squared_excess(clone(x), z)) for z, x in parts) / len(smashed)
        return torch.cat([x.detach() for _, x in parts]), residual, clone

    def _improve(self, clone: nn.Module, z: Bounds, x: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """One step of the guesses x (B, *in) towards records that this clone sends as z (B, *cut)."""
        loss = mean_squared_excess(clone(x), z) + self.tv * total_variation(x) + self.l2 * x.square().mean()
        (x.grad,) = torch.autograd.grad(loss * len(x), x)  # a sum over targets: each has its own loss
        optimizer.step()

    def _train_clone(
        self, clone: nn.Module, parts: list[tuple[Bounds, Tensor]], optimizer: torch.optim.Optimizer
    ) -> None:
        """Steps of the clone towards sending z for the guesses, each on one slice."""
        for _ in range(self.clone):
            z, x = parts[int(torch.randint(len(parts), ()))]
            update(optimizer, mean_squared_excess(clone(x.detach()), z))


def total_variation(x: Tensor) -> Tensor:
    """(B, C, ...) -> (): mean absolute difference of neighbours, summed over all axes but the channels; 0 if flat."""
    return sum((x.diff(dim=axis).abs().mean() for axis in range(2, x.dim())), x.new_zeros(()))
