"""The two ends of the cut for one batch: the client with its defence, and the server with its part.

Only tensors pass between them. The loop in one process calls both ends in turn; the wire calls each in a process of
its own with messages in between. The bits are the same.

    vanilla: client.send -> server.answer -> client.receive
    u_shape: client.send -> server.forward -> client.judge -> server.backward -> client.receive
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from splitleak.contract import Hooks, Split, Task


class ClientEnd:
    """Bottom, head and defence for one batch, and the outputs of the client that wait for their gradient."""

    def __init__(self, split: Split, live: Hooks, task: Task, reduction: str = "mean") -> None:
        self.split, self.live, self.task, self.reduction = split, live, task, reduction
        self.gradients: list[Tensor | None] = []  # for the ends after the first, which waits for the server's

    def send(self, x: Tensor, y: Tensor) -> Tensor:
        """The smashed data (B, *cut). `x` and `y` then hold the batch as the defence changed it; this y is sent."""
        self.x, self.y = self.live.batch(x, y)
        z, self.kept = self.split.bottom(self.x)
        sent = self.live.smash(z)
        self.penalty = self.live.penalty(self.x, z, sent, self.y)
        self.ends = [sent]
        return sent.detach()

    def judge(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """u_shape: features (B, *out) -> the loss () and the gradient of the features (B, *out) for the server."""
        head = self.split.head
        if head is None:
            raise ValueError("in a vanilla split the loss is the server's")
        down, leaves = features.detach().requires_grad_(), tuple(k.detach().requires_grad_() for k in self.kept)
        loss = self.task.loss(head(down.clone(), tuple(k.clone() for k in leaves)), self.y, self.reduction)
        loss.backward()
        self.ends, self.gradients = [*self.ends, *self.kept], [leaf.grad for leaf in leaves]
        return loss.detach(), self.live.gradient(_grad(down), self.y)

    def receive(self, gradient: Tensor) -> None:
        """One backward pass over everything that the client sent or kept; two passes would round differently."""
        ends, gradients = self.ends, [gradient, *self.gradients]
        if self.penalty is not None:
            ends, gradients = [*ends, self.penalty], [*gradients, torch.ones_like(self.penalty)]
        pairs = [(end, g) for end, g in zip(ends, gradients, strict=True) if g is not None and end.requires_grad]
        if pairs:
            torch.autograd.backward([end for end, _ in pairs], [g for _, g in pairs])


class ServerEnd:
    """The top for one batch. If the server has the labels, it applies the hook `gradient` of the defence."""

    def __init__(self, top: nn.Module, live: Hooks, task: Task, reduction: str = "mean") -> None:
        self.top, self.live, self.task, self.reduction = top, live, task, reduction

    def answer(self, smashed: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """vanilla: smashed data (B, *cut) and labels -> the loss () and the gradient (B, *cut) for the client."""
        up = smashed.detach().requires_grad_()
        loss = self.task.loss(self.top(up.clone()), y, self.reduction)  # a clone: the first layer may work in place
        loss.backward()
        return loss.detach(), self.live.gradient(_grad(up), y)

    def forward(self, smashed: Tensor) -> Tensor:
        """u_shape: (B, *cut) -> features (B, *out)."""
        self.up = smashed.detach().requires_grad_()
        self.features = cast(Tensor, self.top(self.up.clone()))
        return self.features.detach()

    def backward(self, gradient: Tensor) -> Tensor:
        """u_shape: the gradient of the features (B, *out) -> the gradient of the smashed data (B, *cut)."""
        self.features.backward(gradient)
        return _grad(self.up)


def _grad(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
