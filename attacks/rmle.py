"""rMLE (He et al. 2019): descend on a record until the client's output for it matches z.

The attacker has the client's weights f and searches x* = argmin ||f(x) - z||^2 + tv * TV(x), from the middle of the
range, for all targets at once: z (N, *cut) -> guess (N, *in), clamped to in_range after each step. Every target is a
problem of its own; a slice of them passes through the client together for speed.
A step costs about three times the client's forward pass on every target. Computed from the forward pass alone (not run
to the end): for 64x64 on one thread, 100 targets cost some 80 s at child 3 of a ResNet-18, 5 min at child 5, 10 min at
child 7.

Source: He, Zhang, Lee, "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019, section 4 (white-box).

Differs from the paper, by what every attacker knows of the defence:
- The paper sets tv by hand for each layer. Here tv = s^2 / d^2, which gives the posterior mode: s^2 is the variance of
  the noise that the defence adds to a value of z, d how much neighbouring values of a record differ. Without noise
  there is no tv. The parameter `tv` sets it by hand, as the paper does.
- The paper's code adds 1e-3 to the denominator of Adam's step (`eps`). Its gradients are of means and far smaller, so
  its records move far more slowly than `lr` says.
- A defence that transforms z (quantises, drops, clips) follows f in every step, with new random draws: expectation
  over transformation. Noise that is only added has the expectation f(x); drawing it would only slow the descent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from splitleak.contract import Attack, BadInput, Defense, Goal, Grant, View, later
from splitleak.pieces import squared_variation


@dataclass(frozen=True)
class Rmle(Attack):
    goal = Goal.INPUTS
    needs = Grant.BOTTOM | Grant.SMASHED | Grant.DEFENSE

    steps: int = 300  # paper's code: 5000
    lr: float = 0.05  # the start of a cosine schedule, in widths of in_range; paper's code: 0.01, constant
    rough: float = 0.05  # d, in widths of in_range: about how much neighbours in a signal or an image differ
    start: Literal["middle", "mean"] = "middle"  # of in_range, as in the paper; or the mean auxiliary record
    # of total variation, beside the mean squared error of z; paper's code: 0 to 1e4; None: as above
    tv: Annotated[float, Field(ge=0)] | None = later(None)
    eps: Annotated[float, Field(gt=0)] = later(1e-8)  # of Adam; paper's code: 1e-3
    slice: int = 250  # targets searched together; fewer if they hold more than 2^18 values, to save memory

    def run(self, view: View) -> Tensor:
        low, high = view.in_range
        first = torch.full(view.in_shape, (low + high) / 2, device=view.smashed.device)  # (*in)
        if self.start == "mean":
            if Grant.AUX not in view.grants:
                raise BadInput(
                    "attack 'rmle': start = 'mean' needs auxiliary records, `aux` gives none; set start = 'middle'"
                )
            first = view.aux.mean(0)
        most = max(min(self.slice, 2**18 // prod(view.in_shape)), 2)  # one record alone gives a noise scale of 0
        f, noise = channel(view.bottom, view.defense, view.smashed[:most])
        return torch.cat([self._search(f, noise, z, first, view.in_range) for z in view.smashed.split(most)])

    def _search(
        self, f: Callable[[Tensor], Tensor], noise: Tensor, z: Tensor, first: Tensor, span: tuple[float, float]
    ) -> Tensor:
        """z (B, *cut), variance of the noise (*cut) -> (B, *in)."""
        low, high = span
        x = first.repeat(len(z), *[1] * first.dim()).requires_grad_()
        optimizer = torch.optim.Adam([x], self.lr * (high - low), eps=self.eps, amsgrad=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(self.steps, 1))
        for _ in range(self.steps):
            (x.grad,) = torch.autograd.grad(self._loss(f(x) - z, noise, x, high - low), x)
            optimizer.step()
            schedule.step()
            x.data.clamp_(low, high)
        return x.detach()

    def _loss(self, error: Tensor, noise: Tensor, x: Tensor, width: float) -> Tensor:
        """The sum over targets of each one's own loss: error (B, *cut) of the messages, x (B, *in)."""
        if self.tv is None:
            return (error.square() / noise).sum() + squared_variation(x) / (self.rough * width) ** 2
        return error.square().sum() / error[0].numel() + self.tv * squared_variation(x) / x[0].numel()


def channel(bottom: nn.Module, defense: Defense, z: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """f, x (B, *in) -> (B, *cut): client and defence without noise that is only added; the noise's variance."""
    draws = torch.stack([defense.smash(z) for _ in range(32)])  # (32, B, *cut)
    noise = draws.var(0).mean(0)  # (*cut)
    shift = (draws.mean(0) - z).square().mean()  # if the defence only adds noise: a 32nd of its variance
    added = bool((draws[0] != draws[1]).all() and shift < noise.mean() / 16)

    def f(x: Tensor) -> Tensor:
        plain: Tensor = bottom(x)
        sent = plain if added else defense.smash(plain)
        return sent if sent.requires_grad else plain  # false if the defence passes no gradient

    return f, noise + 1e-6 * z.var() + 1e-12
