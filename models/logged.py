"""Logged: a client whose weights may not leave; its messages were written down, each beside its record.

`members`, `strangers` and `aux` are the files of the dataset `own_records`: beside x (n, *in) each has z (n, *cut), the
message that the client sent for the record. Where the server answered, gradient (n, *cut) is what came back. Of a
u-shape there are also features (n, *out), what the server sent down, and gradient_features (n, *out), what went up for
them. Where a record occurs twice, its first messages count.

Nothing else is known of the network. Attacks that need a part of it are skipped, a message for a record that is in no
file is refused, and no accuracy means anything. A defence acts on the messages as they were written down; gradients
stay what they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from splitleak.contract import BadInput, Grant, Model, Protocol, Shape, Split, Task
from splitleak.contract.protocols import TRAFFIC
from splitleak.datasets.reading.identity import record_hashes
from splitleak.datasets.reading.message_log import MessageLog, read_log


@dataclass(frozen=True)
class Logged(Model):
    """Takes the records of its files. Messages alone are protocol `inference`; with gradients it may be another."""

    withheld = Grant.TOP | Grant.BOTTOM | Grant.ARCHITECTURE

    members: str
    strangers: str = ""  # "": none
    aux: str = ""  # "": none

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        raise BadInput("model 'logged': messages that were written down are no network with blocks")

    def cuts(self, protocol: Protocol) -> list[int]:
        """1, the place where the messages were written down, for each protocol whose messages are there."""
        traffic = TRAFFIC[protocol]
        needed = set(traffic.messages) - {"smashed", "labels"}  # the first is always there, the second the dataset's
        return [1] if traffic.cut and needed <= self._log().sent.keys() else []

    def usual_protocol(self) -> Protocol:
        return "inference"

    def sources(self) -> list[Path]:
        return [self.path(file) for file in self._files().values()]

    def split(self, in_shape: Shape, task: Task, cut: int, protocol: Protocol) -> Split:
        log, traffic = self._log(), TRAFFIC[protocol]
        if log.in_shape != in_shape:
            raise BadInput(f"model 'logged': its records have shape {log.in_shape}, those of the dataset {in_shape}")
        sent, place = log.sent, Place()
        nothing = torch.zeros(1, task.size, *(in_shape[1:] if task.kind == "mask" else ()))
        bottom = Client(log.keys, sent["z"], place)
        if traffic.head:
            top = Answer(sent["features"], sent["gradient"], place)
            return Written(bottom, top, Last(nothing, sent["gradient_features"], place))
        return Written(bottom, Answer(nothing, sent.get("gradient"), place))

    def _files(self) -> dict[str, str]:
        named = {"members": self.members, "strangers": self.strangers, "aux": self.aux}
        return {name: file for name, file in named.items() if file}

    def _log(self) -> MessageLog:
        return read_log({name: self.path(file) for name, file in self._files().items()}, "model 'logged'")


class Written(Split):
    """A split whose shapes are those that were written down: it takes no record but its own."""

    def shapes(self, in_shape: Shape) -> tuple[Shape, Shape]:
        sent, answered = cast(Client, self.bottom).z, cast(Answer, self.top).out
        return tuple(sent.shape[1:]), tuple(answered.shape[1:])


class Place:
    """Which rows of the log the client sent last: its answers are those rows too."""

    rows: Tensor


class Client(nn.Module):
    """x (B, *in) -> (z (B, *cut), nothing kept), by looking the record up. keys (n,): hashes of the records."""

    keys: Tensor
    z: Tensor

    def __init__(self, keys: Tensor, z: Tensor, place: Place) -> None:
        super().__init__()
        self.place = place
        self.register_buffer("keys", keys, persistent=False)  # not persistent: they are no weights to be kept
        self.register_buffer("z", z, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        asked = record_hashes(x).to(self.keys.device)
        rows = torch.searchsorted(self.keys, asked).clamp(max=len(self.keys) - 1)
        if missing := int((self.keys[rows] != asked).sum()):
            raise BadInput(f"model 'logged': no message was written down for {missing} of {len(x)} records")
        self.place.rows = rows
        return self.z[rows], ()


class Answer(nn.Module):
    """A later part of the network, for the rows that the client sent last: what it put out, and its gradient.

    out (n or 1, ...): its output. gradient (n, ...): that of its input; None where nothing came back.
    """

    out: Tensor
    gradient: Tensor | None

    def __init__(self, out: Tensor, gradient: Tensor | None, place: Place) -> None:
        super().__init__()
        self.place = place
        self.register_buffer("out", out, persistent=False)
        self.register_buffer("gradient", gradient, persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        rows = self.place.rows
        out = self.out[rows] if len(self.out) > 1 else self.out.expand(len(rows), *self.out.shape[1:])
        gradient = torch.zeros_like(z) if self.gradient is None else self.gradient[rows]
        answered: Tensor = Recalled.apply(z, out, gradient)  # type: ignore[no-untyped-call]
        return answered


class Last(Answer):
    """The client's head in a u-shape."""

    def forward(self, features: Tensor, kept: tuple[Tensor, ...]) -> Tensor:  # type: ignore[override]
        return super().forward(features)


class Recalled(torch.autograd.Function):
    """An output that was written down, and in its backward pass the gradient that was."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, out: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return out.clone()

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None, None]:
        return ctx.saved_tensors[0], None, None
