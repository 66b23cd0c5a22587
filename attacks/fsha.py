"""The server sends gradients that pull the client's activations into a space of its own, which it can decode.

A pilot and its inverse learn to code auxiliary records; a critic learns to tell the pilot's activations from the
client's; the client is sent the gradient of looking like the pilot, in place of the task's. Then z (N, *cut) goes
through the pilot's inverse: guess (N, *in).

Pasquini, Ateniese, Bernaschi, "Unleashing the Tiger: Inference Attacks on Split Learning", ACM CCS 2021, section 3.
The client's optimiser is not the attacker's here (the paper sets it to 1e-5), so the game is calmed from this side:
the pilot is trained first and stands still, under noise that keeps its code apart in every direction; the critic is
dense, its loss the paper's logistic form with a gradient penalty around zero, its rate falling in the last part.
The pilot of images is a fresh copy of the client's network (`copy`; the paper's is one of its own): a code that this
very kind of network can make has few wrong matches, where another kind's let the client settle on a permuted one
(digits behind a LeNet, 750 steps: advantage .69 against -.6). The paper's own game is the file `fsha_published`.

Against clients that look out for it: `start` answers honestly at first; `spy` is SplitSpy (Fu et al., NDSS 2023,
"Focusing on Pinocchio's Nose", against SplitGuard): the server's own part, which goes on learning the task, knows
labels that do not belong to their records by its loss, and such batches are answered honestly.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Attack, Goal, Grant, Step, Task, View, later
from splitleak.pieces import decode, slope_between


@dataclass(frozen=True)
class FSHA(Attack):
    """The hijack: it ends training after `iterations` steps; the guess is of the client at that moment."""

    goal = Goal.INPUTS

    iterations: int = 8000  # paper: 10,000
    pilot: int = 1500  # steps of the pilot and its inverse before that; paper: one beside each iteration
    noise: float = 0.1  # on the pilot's code while it learns, in its own standard deviations; paper: none
    lr: float = 1e-3  # of the critic; paper: 1e-4
    penalty: float = 10.0  # weight of the critic's squared gradient; paper: 500, around norm 1
    calm: float = 0.6  # the last part of the steps, in which the critic's rate falls to 0; paper: none
    width: int = 64  # channels of pilot and inverse; the critic has four times as many units
    curve: int = 500  # steps between two points of the curve in the record
    start: int = 0  # first steps that are answered honestly, while the critic learns; paper: 0
    spy: bool = False  # answer batches with false labels honestly; paper: no
    copy: bool = later(True)  # of images: the pilot is made like the client; paper: no

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        hijack = Grant.STEPS | Grant.TAMPER | Grant.AUX | Grant.SMASHED
        hijack |= Grant.ARCHITECTURE if self.copy else Grant(0)
        return hijack | Grant.TOP | Grant.LABELS if self.spy else hijack

    def run(self, view: View) -> Tensor:
        coded, inverse = self.train_pilot(view, view.aux)  # (M, *cut)
        critic = nets.critic(view.cut_shape, self.width).to(coded.device)
        optimizer = torch.optim.Adam(critic.parameters(), self.lr, betas=(0.5, 0.99), fused=True)
        spy = Spy(view.task) if self.spy else None
        for i, step in enumerate(view.steps):
            if i % self.curve == 0:
                view.log(i, lambda z: decode(inverse, z))
            if i == self.iterations:
                break
            z, rate = step.smashed, min(1.0, (1 - i / self.iterations) / self.calm)  # (B, *cut)
            optimizer.param_groups[0]["lr"] = self.lr * rate
            self.train_critic(critic, optimizer, coded[torch.randint(len(coded), (len(z),), device=z.device)], z)
            fake = spy is not None and spy.sees_false_labels(step)
            if i >= self.start and not fake:
                step.reply(rate**2 * hijack(critic, z))
        return decode(inverse, view.smashed)

    def train_pilot(self, view: View, aux: Tensor) -> tuple[Tensor, nn.Module]:
        """Code auxiliary records and decode them again; returns their code and the decoder."""
        pilot = nn.Sequential(nets.encoder(view.in_shape, view.cut_shape, self.width, depth=0), nn.LeakyReLU(0.01))
        if self.copy and len(view.in_shape) == 3:
            pilot = nn.Sequential(view.fresh_bottom())
        inverse = nets.decoder(view.cut_shape, view.in_shape, view.in_range, self.width)
        both = nn.ModuleList([pilot, inverse]).to(aux.device)
        optimizer = torch.optim.Adam(both.parameters(), fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, self.pilot)
        for _ in range(self.pilot):
            x = aux[torch.randint(len(aux), (32,), device=aux.device)]  # (B, *in)
            code = pilot(x)
            blurred = code + self.noise * code.detach().std() * torch.randn_like(code)
            loss = F.mse_loss(inverse(blurred), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        both.eval()
        with torch.no_grad():
            return torch.cat([pilot(x) for x in aux.split(256)]), inverse

    def train_critic(self, critic: nn.Module, optimizer: torch.optim.Optimizer, ours: Tensor, theirs: Tensor) -> None:
        """One step at telling the pilot's activations from the client's, flat in between."""
        slope = slope_between(critic, ours, theirs)
        loss = F.softplus(-critic(ours)).mean() + F.softplus(critic(theirs)).mean()
        loss = loss + self.penalty * slope.square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def hijack(critic: nn.Module, z: Tensor) -> Tensor:
    """The gradient that makes z look like the pilot's to the critic, a mean over the batch as honest ones are."""
    z = z.requires_grad_()
    (g,) = torch.autograd.grad(F.softplus(-critic(z)).mean(), z)
    return g


class Spy:
    """The loss of recent batches under the server's own part: one with false labels stands out above them."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.losses: deque[float] = deque(maxlen=50)

    @torch.no_grad()
    def sees_false_labels(self, step: Step) -> bool:
        """More than three median deviations above the median, which a tenth of false batches hardly moves."""
        self.losses.append(self.task.loss(step.top(step.smashed), step.labels).item())
        recent = torch.tensor(self.losses, dtype=torch.float64)
        usual = recent.median()
        return bool(recent[-1] > usual + 3 * (recent - usual).abs().median())
