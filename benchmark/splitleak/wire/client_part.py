"""What a client trains: bottom and head with their optimiser, and the live defence, on records that never leave it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from splitleak.contract import Data, Shape
from splitleak.plan.case import Case
from splitleak.printable import in_a_line
from splitleak.snapshot import load_optimizers, optimizer_tensors, with_prefix
from splitleak.train.averaging import client_tensors
from splitleak.train.checkpoint import live_state, load_live_state
from splitleak.train.party import Party, relabelled
from splitleak.train.step import make_optimizer
from splitleak.train.victim import fresh
from splitleak.wire.connection import Connection
from splitleak.wire.invalid_message import InvalidMessage, naming_sender
from splitleak.wire.message_tensors import read_tensor
from splitleak.wire.network_memory import sizes_of


class RemoteTop(nn.Module):
    """The top as a client has it: after training it sends z to the server and returns the server's prediction."""

    def __init__(self, connection: Connection, out_shape: Shape) -> None:
        super().__init__()
        self.connection, self.out_shape = connection, out_shape

    def forward(self, z: Tensor) -> Tensor:
        """z (B, *cut) -> (B, *out)."""
        self.connection.send("query", {"smashed": z})
        message = self.connection.receive("prediction")
        with naming_sender(self.connection.peer):
            return read_tensor(message, "prediction", self.out_shape, z.dtype, len(z))


class ClientPart:
    """The client's part of a victim; the top of its network is the server's."""

    def __init__(self, case: Case, data: Data, number: int, connection: Connection) -> None:
        self.victim = fresh(case, data)
        self.split, self.live, self.task, self.connection = self.victim.split, self.victim.live, data.task, connection
        connection.limits = sizes_of(self.split, case.cell.train.batch_size, case.cell.clients.n).of_server()
        self.split.top = RemoteTop(connection, self.split.out_shape)
        private = relabelled(data.private, self.live)
        self.party = Party(number, self.split, private, case.cell.train, case.seeds.order)
        if self.split.client_parameters():
            self.party.optimizers = [self.live.optimizer(self.split, make_optimizer(case.cell.train))]

    def set_training(self, training: bool) -> None:
        """Train mode or eval mode of all modules."""
        for network in self.victim.networks().values():
            network.train(training)

    def weights(self) -> dict[str, Tensor]:
        """Weights and buffers of bottom and head, by their names in the split."""
        return client_tensors(self.split)

    def learned(self) -> dict[str, Tensor]:
        """Weights and buffers of bottom, head and, if it learns, the live defence, by their names in a victim."""
        return self.victim.tensors()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that training changes except random states: tensors, and the defence's plain values."""
        weights = {f"split.{name}": t for name, t in self.weights().items()}
        tensors, plain = live_state(self.live)
        order = {"order": self.party.order.get_state()}
        return weights | optimizer_tensors(self.party.optimizers) | order | tensors, plain

    def load(self, tensors: dict[str, Tensor], live: dict[str, Any]) -> None:
        """Give a fresh part what `state` returned."""
        self.replace_weights(with_prefix(tensors, "split."))
        load_optimizers(self.party.optimizers, tensors)
        self.party.order.set_state(tensors["order"])
        load_live_state(self.live, tensors, live)

    @torch.no_grad()
    def replace_weights(self, tensors: dict[str, Tensor]) -> None:
        """Copy weights and buffers into bottom and head, in place, so that the optimiser still moves them."""
        self.check_weights(tensors)
        own = self.weights()
        for name, t in own.items():
            t.copy_(tensors[name])

    def check_weights(self, tensors: dict[str, Tensor]) -> None:
        """InvalidMessage if these are not weights of this network; an average of weights is more precise than they."""
        own = self.weights()
        if own.keys() != tensors.keys() or any(own[name].shape != t.shape for name, t in tensors.items()):
            raise InvalidMessage("the weights of another client belong to another network")
        for name, t in tensors.items():
            if t.is_complex() or not bool(t.isfinite().all()):
                raise InvalidMessage(
                    f"the weights of another client contain no finite numbers ('{in_a_line(name, 100)}')"
                )
