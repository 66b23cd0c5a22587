"""How much memory a training takes at the server, computed from the shapes before anything of that size is made.

The network is built on torch's meta device, which has shapes and no values.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor, nn

from splitleak.contract import Shape, Split
from splitleak.contract.nouns import Form
from splitleak.plan.case import Case
from splitleak.train.averaging import client_tensors
from splitleak.wire.kinds import SMALL
from splitleak.wire.memory import MB

HEADER = 1000  # bytes that a tensor may add to a message: its name, its shape, its place
TRAINED = 4  # weights, gradient and two moments of an optimiser


@dataclass(frozen=True)
class MessageSizes:
    """The most bytes of each large message, from the shapes of one record."""

    records: int  # in a batch
    cut: Shape
    out: Shape
    weights: int  # bytes of what a client sends to the others
    clients: int

    def of_client(self) -> dict[str, int]:
        """What a client may send."""
        cut, out = self._tensor(self.cut), self._tensor(self.out)
        return {"batch": cut + out + SMALL, "gradient_features": out, "query": cut, "weights": self.weights}

    def of_server(self) -> dict[str, int]:
        """What the server may send."""
        cut, out = self._tensor(self.cut), self._tensor(self.out)
        others = max(1, self.clients - 1) * self.weights
        return {"features": out, "gradient": cut, "prediction": out, "turn": self.weights, "weights": others}

    def held(self) -> int:
        """Bytes at the server: the weights of all clients where they exchange them, one message up and one down."""
        exchanged = self.clients * self.weights if self.clients > 1 else 0
        return exchanged + max(self.of_client().values()) + max(self.of_server().values())

    def _tensor(self, shape: Shape) -> int:
        """Of 8 bytes a number: a network may compute in double precision."""
        return 8 * self.records * prod(shape) + SMALL


def sizes_of(split: Split, batch_size: int, clients: int) -> MessageSizes:
    """The sizes for a measured network. A last batch of one record joins the one before."""
    tensors = client_tensors(split).values()
    weights = sum(t.nbytes for t in tensors) + HEADER * (len(tensors) + 1) + SMALL
    return MessageSizes(batch_size + 1, split.cut_shape, split.out_shape, weights, clients)


def objection_to_size(case: Case, form: Form, limit: int) -> str | None:
    """Why the server refuses records of this form: the training would take more memory than it may use for it."""
    needed = _needed(case, form)
    if needed <= limit:
        return None
    allowed = f"the server may use {limit // MB} MB for its clients"
    return f"a network for records {form.in_shape} takes {ceil(needed / MB)} MB, and {allowed} (serve --memory MB)"


def _needed(case: Case, form: Form) -> int:
    """Bytes. Where the network does not take such records, those up to the layer that does not."""
    split, outputs = Split(nn.Identity(), nn.Identity()), _Outputs()
    batch = case.cell.train.batch_size
    try:
        with torch.device("meta"), torch.no_grad():
            split = case.defense.shape(case.model.split(form.in_shape, form.task, case.cut, case.cell.protocol))
            outputs.watch(split)
            split.measure(form.in_shape, form.in_range)
    except Exception:  # building it on the processor raises the same, and the user reads why
        sizes = 0
    else:
        sizes = sizes_of(split, batch, case.cell.clients.n).held()
    weights = sum(p.nbytes for p in split.parameters())
    trained = (TRAINED - 1) * sum(p.nbytes for p in split.top.parameters())
    return weights + trained + outputs.largest + outputs.of_top * batch // 2 + sizes


class _Outputs:
    """Bytes of what the layers return for the two records with which a network is measured."""

    def __init__(self) -> None:
        self.largest = self.of_top = 0

    def watch(self, split: Split) -> None:
        """Count in each layer that has no layers inside; those of the top are kept for its gradient."""
        top = set(split.top.modules())
        for layer in split.modules():
            if not list(layer.children()):
                layer.register_forward_hook(lambda *given, kept=layer in top: self._count(given[-1], kept))

    def _count(self, output: Any, kept: bool) -> None:
        if isinstance(output, Tensor):
            self.largest = max(self.largest, output.nbytes)
            self.of_top += output.nbytes * kept
