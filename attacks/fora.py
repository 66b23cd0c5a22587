"""FORA (Xu et al. 2024): a substitute client that sends what the victim's client sends, and its inverse.

At steps of the training the substitute learns to send messages of auxiliary records that are distributed like
those on the wire: a critic cannot tell the two apart, and their maximum mean discrepancy is small. A decoder learns the
inverse of the substitute in the same loop, and is applied to z (N, *cut): guess (N, *in). Neither labels nor the
server's part are needed, so whoever reads the wire can do it.

Source: Xu et al., "A Stealthy Wrongdoer: Feature-Oriented Reconstruction Attack against Split Learning", CVPR 2024,
section 4.

Differs from the paper:
- The substitute sends through the defence, with fresh randomness, and the decoder learns from that (adaptive).
- After the training there are `tail` more steps, on the released messages: the guess is for these. If the defence adds
  one of a few tensors, these shifts are removed first (`pieces.shifts`).
- Several substitutes learn side by side, and the one whose guesses are distributed most like auxiliary records counts.
  One alone can settle on messages that only look right (behind `nopeek` on heartbeats one of six did: advantage .23
  instead of .97, and a discrepancy from real records of .078 instead of .016 and less).
- Fewer steps at a higher rate, and a critic that is dense. Both were chosen on seed 10 of `ecg`, undefended.

What messages alone cannot tell: where the records look alike in a mirror or with two classes exchanged, the substitute
may settle on the wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor

from splitleak import nets
from splitleak.contract import Attack, Goal, Grant, View
from splitleak.pieces import affordable, decode, gradient_between, most_plausible, squared_mmd, update
from splitleak.pieces.shifts import without_shifts


@dataclass(frozen=True)
class Fora(Attack):
    goal = Goal.INPUTS
    needs = Grant.SMASHED | Grant.STEPS | Grant.AUX | Grant.DEFENSE

    discrepancy: float = 0.8  # share of the discrepancy in the substitute's loss, the rest is the critic's; paper: 0.8
    lr: float = 1e-3  # of substitute and decoder; paper: 1e-4, for 40,000 steps
    critic_lr: float = 3e-4  # paper: 3e-4
    penalty: float = 10.0  # weight of the critic's gradient around norm 1; paper: 1000
    starts: Annotated[int, Field(ge=1)] = 2  # substitutes with other first weights; paper: 1
    every: Annotated[int, Field(ge=1)] = 5  # it learns from each fifth step of the training; paper: from each
    tail: int = 3000  # steps on the released messages after the training, a quarter if records are large; paper: 0
    batch: int = 64  # paper: 64
    width: int = 32  # channels of the three networks

    def run(self, view: View) -> Tensor:
        return substitute_of(self, view)[1]


def substitute_of(attack: Fora, view: View) -> tuple[Substitute, Tensor]:
    """The substitute client that the attack learns, and the records that it guesses, (N, *in)."""
    substitutes = [Substitute(attack, view) for _ in range(attack.starts)]
    for step in islice(view.steps, 0, None, attack.every):
        for substitute in substitutes:
            substitute.learn(step.smashed)
    released = without_shifts(view)  # (N, *cut)
    tail = affordable(attack.tail, view.in_shape)
    for done in range(tail):
        rows = torch.randint(len(released), (attack.batch,), device=released.device)
        for substitute in substitutes:
            substitute.slow_down(1 - done / tail)
            substitute.learn(released[rows])
    guesses = [decode(substitute.decoder, released) for substitute in substitutes]
    best = most_plausible([(guess, 0.0) for guess in guesses], view.aux)
    return next(s for s, guess in zip(substitutes, guesses, strict=True) if guess is best), best


class Substitute:
    """The substitute client, the critic that it must deceive, and its inverse."""

    def __init__(self, attack: Fora, view: View) -> None:
        self.attack, self.defense, self.aux = attack, view.defense, view.aux
        device = self.aux.device
        self.client = nets.encoder(view.in_shape, view.cut_shape, attack.width).to(device)
        self.critic = nets.critic(view.cut_shape, attack.width).to(device)
        self.decoder = nets.decoder(view.cut_shape, view.in_shape, view.in_range, attack.width).to(device)
        self.learner = torch.optim.Adam(self.client.parameters(), attack.lr, fused=True)
        self.inverter = torch.optim.Adam(self.decoder.parameters(), attack.lr, fused=True)
        self.judge = torch.optim.Adam(self.critic.parameters(), attack.critic_lr, betas=(0.5, 0.99), fused=True)

    @torch.no_grad()
    def send(self, x: Tensor) -> Tensor:
        """(M, *in) -> (M, *cut): what it sends, with fresh randomness of the defence."""
        return torch.cat([self.defense.smash(self.client(part)) for part in x.split(self.attack.batch)])

    def slow_down(self, rate: float) -> None:
        """Let substitute and decoder learn at this share of their rate."""
        for optimizer, lr in ((self.learner, self.attack.lr), (self.inverter, self.attack.lr)):
            optimizer.param_groups[0]["lr"] = rate * lr

    def learn(self, z: Tensor) -> None:
        """One step of all three; z (B, *cut) from the wire."""
        x = self.aux[torch.randint(len(self.aux), (len(z),), device=z.device)]  # (B, *in)
        sent = self.defense.smash(self.client(x))
        self._judge(sent.detach(), z)
        share = self.attack.discrepancy
        loss = share * squared_mmd(sent.flatten(1), z.flatten(1)) - (1 - share) * self.critic(sent).mean()
        update(self.learner, loss)
        update(self.inverter, F.mse_loss(self.decoder(sent.detach()), x))

    def _judge(self, sent: Tensor, z: Tensor) -> None:
        """One step towards higher values for the wire's messages than for the substitute's."""
        steepness = gradient_between(self.critic, sent, z).norm(dim=1)
        loss = self.critic(sent).mean() - self.critic(z).mean()
        update(self.judge, loss + self.attack.penalty * (steepness - 1).square().mean())
