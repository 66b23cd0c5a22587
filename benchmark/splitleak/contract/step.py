"""One step of the training, as an attack that may observe it sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from splitleak.contract.errors import BadInput, NotGranted
from splitleak.contract.gate import Gate, Granted, bare, frozen
from splitleak.contract.nouns import Grant


class Step(Gate):
    """One batch at the cut, before any weight moves."""

    prefix = "step."
    smashed = Granted(Grant.SMASHED, "(B, *cut): the smashed data of the batch")
    gradient = Granted(Grant.GRADIENT, "(B, *cut): the honest gradient of the batch's mean loss, sent back")
    features = Granted(Grant.SMASHED, "(B, *out): u-shape only, what the server sent down")
    gradient_features = Granted(Grant.GRADIENT, "(B, *out): u-shape only, what the client sent up for the features")
    labels = Granted(Grant.LABELS, "(B, ...): the labels of the batch, where they cross the wire")

    def __init__(
        self,
        when: tuple[int, int, int],
        tensors: Mapping[str, Tensor],
        copy_top: Callable[[], nn.Module],
        grants: Grant,
        read: set[str],
    ) -> None:
        self.epoch, self.index, self.client = when
        self._answer: Tensor | None = None
        self._open: list[Callable[[], nn.Module]] = [copy_top]
        still_open, sent = self._open, tensors["smashed"]  # no source may hold the step: a cycle is freed late
        sources: dict[str, Callable[[], Any]] = {name: t.clone for name, t in tensors.items()}
        sources |= {"top": lambda: still_open[0]() if still_open else None, "reply": lambda: sent}
        super().__init__(grants, sources, read)

    @property
    def top(self) -> nn.Module:
        """A copy of the server's part before its update: eval mode, frozen."""
        top = self._read("top", Grant.TOP)
        if top is None:
            raise NotGranted("'step.top' is gone: read it before pulling the next step")
        return frozen(top)

    def reply(self, g: Tensor) -> None:
        """Send the client this gradient (B, *cut) in place of the honest one."""
        sent: Tensor = self._read("reply", Grant.TAMPER)
        reply = bare(g)
        if reply.shape != sent.shape:
            raise BadInput(f"step.reply: gradient of shape {tuple(reply.shape)}, the client sent {tuple(sent.shape)}")
        self._answer = reply.to(sent.device)

    @property
    def answer(self) -> Tensor | None:
        """What the client is sent in place of the honest gradient; None: the honest one."""
        return self._answer

    def close(self) -> None:
        """End the step: the weights of the server move now."""
        self._open.clear()
