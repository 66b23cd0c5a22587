"""FSHA (Pasquini et al. 2021): replies pull the smashed data into a space the server decodes.

A pilot network and its inverse learn to encode auxiliary records and to decode them. A critic learns to tell the
pilot's code from the client's activations. In place of the task's gradient the client is sent the gradient that makes
its activations look like the pilot's code. The inverse of the pilot then decodes z (N, *cut): guess (N, *in).
Against clients that look for it, `start` delays the attack: the first steps get honest replies. With `task` above 0
each reply is a mixture of the honest gradient and the hijack's, both of the same norm.

Source: Pasquini, Ateniese, Bernaschi, "Unleashing the Tiger: Inference Attacks on Split Learning", ACM CCS 2021,
section 3 (feature-space hijacking attack). `fsha_published` is the paper's own version.

Differs from the paper, because the attacker does not set the client's optimiser here (the paper's rate is 1e-5), so
that the training must be made stable from the server's side:
- The pilot is trained first and then stays fixed, with noise on its code that keeps codes apart in every direction.
- The critic is dense. Its loss is the paper's logistic form with a gradient penalty around zero, and its rate falls in
  the last part.
- The pilot's code passes the defence, with fresh randomness, on its way to the inverse and to the critic (adaptive).
- The pilot of images is a fresh copy of the client's network (`copy`); the paper's is a network of its own. A client
  of the same architecture can match such a code in few wrong ways. With another architecture the client settled on a
  permuted code (digits behind a LeNet, 750 steps: advantage .69 with the copy, -.6 without).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Attack, Goal, Grant, Step, View, later
from splitleak.pieces import Pilot, decode, gradient_between, mixed


@dataclass(frozen=True)
class FSHA(Attack):
    """It ends the training after `iterations` steps; the guess is for the client at that moment."""

    goal = Goal.INPUTS
    formerly: ClassVar[dict[str, Any]] = {"spy": False}

    iterations: int = 8000  # paper: 10,000
    pilot: int = 1500  # steps of the pilot and its inverse before that; paper: one beside each iteration
    noise: float = 0.1  # on the pilot's code while it learns, in standard deviations of the code; paper: none
    lr: float = 1e-3  # of the critic; paper: 1e-4
    penalty: float = 10.0  # weight of the critic's squared gradient; paper: 500, around norm 1
    calm: float = 0.6  # the last part of the steps, in which the critic's rate falls to 0; paper: none
    width: int = 64  # channels of pilot and inverse; the critic has four times as many units
    curve: int = 500  # steps between two points of the curve in the record
    start: int = 0  # first steps with honest replies, while the critic learns; paper: 0
    copy: bool = later(True)  # images: the pilot has the client's architecture; paper: no
    task: Annotated[float, Field(ge=0, lt=1)] = later(0.0)  # share of the honest gradient in each reply; paper: 0

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        needs = Grant.STEPS | Grant.TAMPER | Grant.AUX | Grant.SMASHED | Grant.DEFENSE
        needs |= Grant.GRADIENT if self.task else Grant(0)
        return needs | Grant.ARCHITECTURE if self.copy else needs

    def run(self, view: View) -> Tensor:
        return self._hijack(view, lambda step: False)

    def _hijack(self, view: View, spares: Callable[[Step], bool]) -> Tensor:
        """The attack; a step that `spares` accepts gets the honest reply."""
        defense, pilot = view.defense, Pilot(self.pilot, self.noise, self.width, self.copy)
        code, inverse = pilot.train(view, view.aux, defense)  # (M, *cut)
        critic = nets.critic(view.cut_shape, self.width).to(code.device)
        optimizer = torch.optim.Adam(critic.parameters(), self.lr, betas=(0.5, 0.99), fused=True)
        for i, step in enumerate(view.steps):
            if i % self.curve == 0:
                view.log(i, lambda z: decode(inverse, z))
            if i == self.iterations:
                break
            z, rate = step.smashed, min(1.0, (1 - i / self.iterations) / self.calm)  # (B, *cut)
            optimizer.param_groups[0]["lr"] = self.lr * rate
            drawn = code[torch.randint(len(code), (len(z),), device=z.device)]
            self._train_critic(critic, optimizer, defense.smash(drawn), z)
            spared = spares(step)
            if i >= self.start and not spared:
                step.reply(rate**2 * mixed(step, pull(critic, z), self.task))
        return decode(inverse, view.smashed)

    def _train_critic(self, critic: nn.Module, optimizer: torch.optim.Optimizer, code: Tensor, z: Tensor) -> None:
        """One step towards telling the pilot's code from the client's z, with a flat critic between the two."""
        gradient = gradient_between(critic, code, z)
        loss = F.softplus(-critic(code)).mean() + F.softplus(critic(z)).mean()
        loss = loss + self.penalty * gradient.square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def pull(critic: nn.Module, z: Tensor) -> Tensor:
    """The gradient that makes z look like the pilot's code to the critic; a batch mean, as honest gradients are."""
    z = z.requires_grad_()
    (g,) = torch.autograd.grad(F.softplus(-critic(z)).mean(), z)
    return g
