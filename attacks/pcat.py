"""PCAT (Gao and Zhang 2023): train a pseudo-client under the server's part, then invert it.

At each step of the victim's training a pseudo-client learns from a few labelled auxiliary records x. They have the
labels of the batch on the wire (any labels in a u-shape, where labels do not cross the wire). Its loss is the
cross-entropy through the server's current part, which does not change. Then a decoder learns from pairs (pseudo(x), x)
and is applied to z (N, *cut): guess (N, *in).

With `align` above 0 it is another, stronger attack: pseudo(x) is also drawn towards the batch on the wire, by the
multi-kernel discrepancy of FORA (Xu et al., CVPR 2024, section 4). Cross-entropy alone copies what the client does for
the task, but not its coordinates.

Source: Gao and Zhang, "PCAT: Functionality and Data Stealing from Split Learning by Pseudo-Client Attack", USENIX
Security 2023, sections 4-5.

Differs from the paper:
- The decoder learns from all auxiliary records, without their labels; the paper's learns from the labelled ones.
- After the training there are `tail` more steps, on the released messages.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Attack, Goal, Grant, View
from splitleak.pieces import decode, invert_surrogate, squared_mmd, update


@dataclass(frozen=True)
class Pcat(Attack):
    goal = Goal.INPUTS
    needs = Grant.SMASHED | Grant.STEPS | Grant.TOP | Grant.AUX | Grant.AUX_LABELS | Grant.DEFENSE

    per_class: int = 25  # labelled records of each class; paper: 5 to 250
    warmup: int = 100  # batches before the pseudo-client starts to learn; paper: about 100
    align: float = 0.0  # weight of the discrepancy beside the task's loss; paper: 0; 10 works on heartbeats
    tail: int = 1000  # steps on the released messages after training; paper: 0
    invert: int = 1500  # steps of the decoder
    batch: int = 32  # of the decoder, and of the tail
    lr: float = 1e-3  # paper: the victim's
    width: int = 32  # channels of all three networks

    def run(self, view: View) -> Tensor:
        pseudo = self._stand_in(view)
        return decode(invert_surrogate(pseudo.send, view, self.invert, self.batch, self.width), view.smashed)

    def _stand_in(self, view: View) -> PseudoClient:
        """The pseudo-client when all steps are over."""
        aux, has_labels = view.aux, Grant.LABELS in view.grants
        pseudo = PseudoClient(self, view)
        for step in view.steps:
            if step.epoch or step.index >= self.warmup:
                pseudo.learn(step.smashed, step.labels if has_labels else None, step.top)
        smashed, labels, top = view.smashed, view.labels if has_labels else None, view.top
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(pseudo.optimizer, max(self.tail, 1))
        for _ in range(self.tail):
            i = torch.randint(len(smashed), (self.batch,), device=aux.device)
            pseudo.learn(smashed[i], labels[i] if labels is not None else None, top)
            schedule.step()
        return pseudo


class PseudoClient:
    """A surrogate of the client, and of its head in a u-shape, with the few labelled records that it learns from."""

    def __init__(self, attack: Pcat, view: View) -> None:
        self.task, self.defense, self.align = view.task, view.defense, attack.align
        x, y = view.aux, view.aux_labels
        few = torch.arange(len(y), device=y.device)[: attack.per_class * view.classes]
        if self.task.kind == "classes":
            few = torch.cat([(y == k).nonzero().flatten()[: attack.per_class] for k in range(view.classes)])
        self.x, self.y = x[few], y[few]
        self.client = nets.encoder(view.in_shape, view.cut_shape, attack.width).to(x.device)
        self.head: nn.Module = nn.Identity()
        if view.out_shape is not None:
            wanted = (view.classes,) if self.task.kind == "classes" else tuple(y.shape[1:])
            self.head = nets.encoder(view.out_shape, wanted, attack.width).to(x.device)
        self.optimizer = torch.optim.Adam([*self.client.parameters(), *self.head.parameters()], attack.lr)

    def send(self, x: Tensor) -> Tensor:
        """(B, *in) -> (B, *cut), through the defence as the client would."""
        return self.defense.smash(self.client(x))

    def learn(self, smashed: Tensor, labels: Tensor | None, top: nn.Module) -> None:
        """One step: smashed (B, *cut) from the wire, and its labels (B,) if they were sent."""
        weights = torch.ones(len(smashed), len(self.y), device=self.y.device)  # (B, labelled records)
        if labels is not None and self.task.kind == "classes":
            weights = (labels[:, None] == self.y).float() + 1e-9  # for a class without records: any record
        i = torch.multinomial(weights, 1).flatten()
        sent = self.send(self.x[i])
        loss = self.task.loss(self.head(top(sent)), self.y[i])
        if self.align:
            loss = loss + self.align * squared_mmd(sent.flatten(1), smashed.flatten(1))
        update(self.optimizer, loss)
