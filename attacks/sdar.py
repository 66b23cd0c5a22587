"""SDAR (Zhu et al. 2025): a simulator of the client that two discriminators keep close to it, and its inverse.

At each step of the training a simulator e of the client learns from labelled auxiliary records x. Its loss is the
cross-entropy through the server's current part, which does not change, plus l1 times the loss of a discriminator that
tells its messages e(x) from those on the wire. A decoder d learns d(e(x)) = x, plus l2 times the loss of a second
discriminator, which tells d(z) from auxiliary records. d is applied to z (N, *cut): guess (N, *in). Where class labels
cross the wire, the decoder and both discriminators get the label too. In a u-shape they do not, and the attacker
trains a head of its own together with the simulator.

Source: Zhu, Luo, Wu, Jiang, Xiao, Ooi, "Passive Inference Attacks on Split Learning via Adversarial Regularization",
NDSS 2025, sections 4 and 5.

Differs from the paper:
- The simulator sends through the defence, with fresh randomness, and the decoder learns from that (adaptive).
- After the training there are `tail` more steps, on the released messages: the guess is for these.
- Fewer steps (`every` and `tail`), so larger rates of the discriminators. They are dense and have no dropout. Rates and
  weights were chosen on seed 10 of `ecg`, undefended: with a larger l1 or rate the discriminator of messages wins and
  the simulator is lost. A larger l2 helps there, but ruins the guess where auxiliary records are few.
- Labels that are masks or values are not given to the decoder and the discriminators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Attack, Goal, Grant, Shape, View
from splitleak.pieces import affordable, update

Batch = tuple[Tensor, Tensor | None]  # records or messages (B, ...), and their classes (B,) if the networks get them


@dataclass(frozen=True)
class Sdar(Attack):
    goal = Goal.INPUTS

    l1: float = 0.02  # weight of the discriminator of messages; paper: 0.02 to 0.04; 0: none
    l2: float = 1e-5  # weight of the discriminator of records; paper: 1e-5; 0: none
    lr: float = 1e-3  # of simulator and head; paper: 1e-3
    decoder_lr: float = 1e-3  # paper: 5e-4
    message_lr: float = 3e-4  # of the discriminator of messages; paper: l1 * lr = 2e-5, for 20,000 steps
    record_lr: float = 3e-4  # of the discriminator of records; paper: l2 * decoder_lr = 5e-9
    every: Annotated[int, Field(ge=1)] = 5  # it learns from each fifth step of the training; paper: from each
    copy: bool = True  # the simulator has the client's architecture; False: an encoder of its own
    tail: int = 3000  # steps on the released messages after the training, a quarter if records are large; paper: 0
    batch: int = 64  # of the tail; paper: 128
    width: int = 32  # channels of the networks

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        needs = Grant.SMASHED | Grant.STEPS | Grant.TOP | Grant.AUX | Grant.AUX_LABELS | Grant.DEFENSE
        return needs | Grant.ARCHITECTURE if self.copy else needs

    def run(self, view: View) -> Tensor:
        has_labels = Grant.LABELS in view.grants and view.task.kind == "classes"
        simulator = Simulator(self, view, view.classes if has_labels else 0)
        for step in islice(view.steps, 0, None, self.every):
            simulator.learn((step.smashed, step.labels if has_labels else None), step.top)
        z, y, top = view.smashed, view.labels if has_labels else None, view.top
        tail = affordable(self.tail, view.in_shape)
        for done in range(tail):
            simulator.slow_down(1 - done / tail)
            i = torch.randint(len(z), (self.batch,), device=z.device)
            simulator.learn((z[i], None if y is None else y[i]), top)
        return simulator.decode(z, y)


class Simulator:
    """The simulator of the client, its inverse, and the two discriminators."""

    def __init__(self, attack: Sdar, view: View, classes: int) -> None:
        """classes: of the labels that the networks get; 0: they get none."""
        self.attack, self.task, self.defense = attack, view.task, view.defense
        self.x, self.y, self.conditional = view.aux, view.aux_labels, classes > 0
        cut, shape, width = view.cut_shape, view.in_shape, attack.width
        self.client = view.fresh_bottom() if attack.copy else nets.encoder(shape, cut, width)
        self.head: nn.Module = nn.Identity()
        if view.out_shape is not None:
            wanted = (view.classes,) if self.task.kind == "classes" else tuple(self.y.shape[1:])
            self.head = nets.encoder(view.out_shape, wanted, width)
        inverse = partial(nets.decoder, out_shape=shape, out_range=view.in_range, width=width)
        self.decoder = Labelled(cut, classes, inverse)
        self.of_messages = Labelled(cut, classes, partial(nets.critic, width=width))
        self.of_records = Labelled(shape, classes, partial(nets.critic, width=width))
        for net in (self.client, self.head, self.decoder, self.of_messages, self.of_records):
            net.to(self.x.device).train()
        simulated = [*self.client.parameters(), *self.head.parameters(), torch.zeros(1)]  # a client may have no weights
        self.learner = torch.optim.Adam(simulated, attack.lr)
        self.inverter = torch.optim.Adam(self.decoder.parameters(), attack.decoder_lr, fused=True)
        self.message_judge = torch.optim.Adam(self.of_messages.parameters(), attack.message_lr, fused=True)
        self.record_judge = torch.optim.Adam(self.of_records.parameters(), attack.record_lr, fused=True)

    def slow_down(self, share: float) -> None:
        """Let simulator and decoder learn at this share of their rate."""
        for optimizer, lr in ((self.learner, self.attack.lr), (self.inverter, self.attack.decoder_lr)):
            optimizer.param_groups[0]["lr"] = share * lr

    def learn(self, wire: Batch, top: nn.Module) -> None:
        """One step of all: messages (B, *cut) from the wire with their labels, and the server's part."""
        i = torch.randint(len(self.x), (len(wire[0]),), device=self.x.device)
        x, y = self.x[i], self.y[i]  # (B, *in), (B, ...)
        given = y if self.conditional else None
        sent = self.defense.smash(self.client(x))  # (B, *cut)
        loss = self.task.loss(self.head(top(sent)), y)
        if self.attack.l1:
            loss = loss + self.attack.l1 * real(self.of_messages(sent, given))
        update(self.learner, loss)
        sent = sent.detach()
        if self.attack.l1:
            update(self.message_judge, real(self.of_messages(*wire)) + fake(self.of_messages(sent, given)))
        self._invert((sent, given), x, wire)

    def _invert(self, sent: Batch, x: Tensor, wire: Batch) -> None:
        """One step of the decoder, and of the discriminator of its guesses for the wire from the records x (B, *in)."""
        error = F.mse_loss(self.decoder(*sent), x)
        if self.attack.l2:
            guess, y = self.decoder(*wire), wire[1]
            update(self.inverter, error + self.attack.l2 * real(self.of_records(guess, y)))
            update(self.record_judge, real(self.of_records(x, sent[1])) + fake(self.of_records(guess.detach(), y)))
        else:
            update(self.inverter, error)

    @torch.no_grad()
    def decode(self, z: Tensor, y: Tensor | None) -> Tensor:
        """(N, *cut) -> (N, *in), in eval mode and in slices of 256."""
        self.decoder.eval()
        slices = torch.arange(len(z), device=z.device).split(256)
        return torch.cat([self.decoder(z[i], None if y is None else y[i]) for i in slices])


class Labelled(nn.Module):
    """A network that gets the class beside its input: as one more channel, or as many more values if it is flat."""

    def __init__(self, shape: Shape, classes: int, make: Callable[[Shape], nn.Module]) -> None:
        super().__init__()
        extra = (1, *shape[1:]) if len(shape) > 1 else shape
        self.label: nn.Module | None = None
        if classes:
            dense = nn.Linear(50, prod(extra))  # paper: 50
            self.label = nn.Sequential(nn.Embedding(classes, 50), dense, nn.Unflatten(1, extra))
            shape = (shape[0] + extra[0], *shape[1:])
        self.net = make(shape)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if self.label is not None:
            x = torch.cat([x, self.label(y)], 1)
        found: Tensor = self.net(x)
        return found


def real(score: Tensor) -> Tensor:
    """The binary cross-entropy of scores (B, 1) that should say 1."""
    return F.softplus(-score).mean()


def fake(score: Tensor) -> Tensor:
    """The same of scores that should say 0."""
    return F.softplus(score).mean()
