"""URVFL (Yao et al. 2025): a hijack whose gradients depend on the labels, as those of an honest server do.

A pilot network and its inverse learn to encode auxiliary records and to decode them. A discriminator with two outputs
for each class learns to tell the client's activations of class y (output 2y) from the pilot's code of class y (output
2y + 1). In place of the task's gradient the client is sent the gradient that makes its activations of class y look like
the pilot's code of class y. Records of one class are pulled in similar directions, those of different classes are not:
what detectors of a hijack look for. The inverse of the pilot then decodes z (N, *cut): guess (N, *in).
`start` and `task` delay and soften the hijack, as in `fsha`.

Source: Yao et al., "URVFL: Undetectable Data Reconstruction Attack on Vertical Federated Learning", NDSS 2025 (arXiv
2404.19582).

Differs from the paper:
- The pilot's code passes the defence, with fresh randomness, on its way to the inverse and to the discriminator
  (adaptive).
- What keeps `fsha` stable where the attacker does not set the client's learning rate: noise on the pilot's code, a
  dense discriminator with a gradient penalty around zero on the odds of pilot against client, a rate that falls in the
  last part, and for images a pilot of the client's architecture.
- Each batch of the client meets as many codes of each class as it has records of that class.

The labels must cross the wire: it is not for a u-shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor

from splitleak import nets
from splitleak.contract import Attack, Goal, Grant, View
from splitleak.pieces import Pilot, decode, gradient_between, mixed


@dataclass(frozen=True)
class URVFL(Attack):
    """It ends the training after `iterations` steps; the guess is for the client at that moment."""

    goal = Goal.INPUTS
    tasks = ("classes",)

    iterations: int = 8000  # paper: 25 epochs
    pilot: int = 1500  # steps of the pilot and its inverse before that; paper: 20 epochs
    noise: float = 0.1  # on the pilot's code while it learns, in standard deviations of the code; paper: none
    lr: float = 1e-3  # of the discriminator; paper: 1e-4
    penalty: float = 10.0  # weight of the squared gradient of the discriminator's odds; paper: none
    calm: float = 0.6  # the last part of the steps, in which the discriminator's rate falls to 0; paper: none
    width: int = 64  # channels of pilot and inverse; the discriminator has four times as many units
    curve: int = 500  # steps between two points of the curve in the record
    start: int = 0  # first steps with honest replies, while the discriminator learns; paper: 0
    task: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of the honest gradient in each reply; paper: 0
    copy: bool = True  # images: the pilot has the client's architecture; paper: no

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        needs = Grant.STEPS | Grant.TAMPER | Grant.SMASHED | Grant.LABELS | Grant.AUX | Grant.AUX_LABELS | Grant.DEFENSE
        needs |= Grant.GRADIENT if self.task else Grant(0)
        return needs | Grant.ARCHITECTURE if self.copy else needs

    def run(self, view: View) -> Tensor:
        defense, pilot = view.defense, Pilot(self.pilot, self.noise, self.width, self.copy)
        code, inverse = pilot.train(view, view.aux, defense)  # (M, *cut)
        rows = RowsByClass(view.aux_labels, view.classes)
        judge = Discriminator(self, view, code.device)
        for i, step in enumerate(view.steps):
            if i % self.curve == 0:
                view.log(i, lambda z: decode(inverse, z))
            if i == self.iterations:
                break
            z, y, rate = step.smashed, step.labels, min(1.0, (1 - i / self.iterations) / self.calm)  # (B, *cut), (B,)
            judge.learn(defense.smash(code[rows.draw(y)]), z, y, rate)
            if i >= self.start:
                step.reply(rate**2 * mixed(step, judge.pull(z, y), self.task))
        return decode(inverse, view.smashed)


class Discriminator:
    """Of z (B, *cut) and class y (B,): is it the client's (output 2y) or the pilot's (output 2y + 1)?"""

    def __init__(self, attack: URVFL, view: View, device: torch.device) -> None:
        self.attack = attack
        self.network = nets.critic(view.cut_shape, attack.width, 2 * view.classes).to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), attack.lr, betas=(0.5, 0.99), fused=True)

    def learn(self, code: Tensor, z: Tensor, y: Tensor, rate: float) -> None:
        """One step on codes and activations of the same classes, at this share of the learning rate."""
        self.optimizer.param_groups[0]["lr"] = self.attack.lr * rate
        gradient = gradient_between(lambda between: self._odds(between, y), code, z)
        loss = F.cross_entropy(self.network(code), 2 * y + 1) + F.cross_entropy(self.network(z), 2 * y)
        loss = loss + self.attack.penalty * gradient.square().sum(1).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def pull(self, z: Tensor, y: Tensor) -> Tensor:
        """The gradient that makes z look like the pilot's code of class y; a batch mean, as honest gradients are."""
        z = z.requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(self.network(z), 2 * y + 1), z)
        return g

    def _odds(self, z: Tensor, y: Tensor) -> Tensor:
        """(B,): the logarithm of the odds of the pilot against the client, within class y."""
        out: Tensor = self.network(z)  # (B, 2K)
        return (out.gather(1, 2 * y[:, None] + 1) - out.gather(1, 2 * y[:, None])).squeeze(1)


class RowsByClass:
    """The auxiliary records of each class."""

    def __init__(self, labels: Tensor, classes: int) -> None:
        self.order = labels.argsort()
        self.count = labels.bincount(minlength=classes)
        self.first = self.count.cumsum(0) - self.count

    def draw(self, y: Tensor) -> Tensor:
        """(B,): for each label the row of a record of that class, or of any where the class has none."""
        count = self.count[y]
        place = self.first[y] + (torch.rand(len(y), device=y.device) * count).long()
        return self.order[torch.where(count > 0, place, torch.randint(len(self.order), (len(y),), device=y.device))]
