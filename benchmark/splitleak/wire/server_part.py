"""What the server trains: the top with its optimiser."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from splitleak.contract.nouns import Form
from splitleak.plan.case import Case
from splitleak.snapshot import load_optimizers, optimizer_tensors, with_prefix
from splitleak.train.checkpoint import live_state, load_live_state
from splitleak.train.ends import ServerEnd
from splitleak.train.step import make_optimizer
from splitleak.train.victim import networks
from splitleak.wire.network_memory import sizes_of


class ServerPart:
    """The top, its optimiser, and the live defence, whose `gradient` acts here where the server has the labels.

    `sealed`: where clients train in turn, the encrypted weights of the last one for the next one, by
    "<epoch>.<client>".
    """

    def __init__(self, case: Case, form: Form) -> None:
        split, self.live = networks(case, form, torch.device("cpu"))
        self.top: nn.Module = split.top  # bottom and head are not used: each client trains its own
        self.task, self.cut_shape, self.out_shape = form.task, split.cut_shape, split.out_shape
        parameters = list(self.top.parameters())
        self.optimizers = [make_optimizer(case.cell.train)(parameters)] if parameters else []
        self.sizes = sizes_of(split, case.cell.train.batch_size, case.cell.clients.n)
        self.dtype = next((p.dtype for p in parameters), torch.get_default_dtype())
        self.sealed: dict[str, Tensor] = {}

    def set_training(self, training: bool) -> None:
        """Train mode or eval mode of all modules."""
        for part in (self.top, self.live):
            if isinstance(part, nn.Module):
                part.train(training)

    def end(self) -> ServerEnd:
        """The server's end of one batch."""
        return ServerEnd(self.top, self.live, self.task)

    def step(self) -> None:
        """Move the weights by the gradients of a batch."""
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()

    def learned(self) -> dict[str, Tensor]:
        """The top's weights and buffers, by their names in a victim."""
        return {f"split.top.{name}": t for name, t in self.top.state_dict().items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that training changes except random states: tensors, and the defence's plain values."""
        sealed = {f"sealed.{name}": t for name, t in self.sealed.items()}
        tensors, plain = live_state(self.live)
        return self.learned() | optimizer_tensors(self.optimizers) | sealed | tensors, plain

    def load(self, tensors: dict[str, Tensor], live: dict[str, Any]) -> None:
        """Give a fresh part what `state` returned."""
        self.top.load_state_dict(with_prefix(tensors, "split.top."))
        load_optimizers(self.optimizers, tensors)
        self.sealed = with_prefix(tensors, "sealed.")
        load_live_state(self.live, tensors, live)
