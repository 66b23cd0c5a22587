"""The server's side of training: receive each batch in the order of the in-process loop, and answer it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from splitleak.contract import Detected
from splitleak.plan.cell import Cell
from splitleak.train.step import finite, set_rate
from splitleak.wire.batch_sizes import BatchSizes
from splitleak.wire.connection import ConnectionLost
from splitleak.wire.invalid_message import InvalidMessage, naming_sender
from splitleak.wire.message import Message
from splitleak.wire.message_tensors import read_labels, read_tensor
from splitleak.wire.progress import Progress
from splitleak.wire.registry import ByNumber, ConnectedClient
from splitleak.wire.server_part import ServerPart

IN_FLIGHT = ("batch", "gradient_features", "weights", "detected")  # may still arrive after the training was stopped


class ServerTraining:
    """One attempt at the training with the connected clients."""

    def __init__(self, cell: Cell, part: ServerPart, clients: ByNumber) -> None:
        self.cell, self.part, self.clients = cell, part, clients
        self.records = {k: client.hello.records for k, client in clients.items()}
        size = cell.train.batch_size
        self.sizes = {k: BatchSizes(n, size) for k, n in self.records.items()}
        for client in clients.values():
            client.connection.limits = part.sizes.of_client()
        self.in_turn = cell.clients.mode == "sequential"
        self.averages = cell.clients.n > 1 and not self.in_turn
        self.hands_on = cell.clients.n > 1 and self.in_turn

    def epoch(self, progress: Progress) -> None:
        """All batches of an epoch; under `vanilla` the mean loss goes to `progress`."""
        set_rate(self.part.optimizers, self.cell.train, progress.epoch)
        total, vanilla = 0.0, self.cell.protocol == "vanilla"
        for client, index in self._order(progress.epoch):
            size = self.sizes[client.hello.client][index]
            loss = self._batch(client, (progress.epoch, index), size)
            if vanilla:
                finite(loss, f"at step {progress.steps} (epoch {progress.epoch})")
            total, progress.steps = total + size * loss, progress.steps + 1
            self._check_connections()
        if vanilla:
            progress.losses.append(total / sum(self.records.values()))
        progress.epoch += 1

    def _order(self, epoch: int) -> Iterator[tuple[ConnectedClient, int]]:
        """The client of each batch and the index of the batch there, in the order of the in-process loop."""
        if self.in_turn:
            for k, client in self.clients.items():
                if self.hands_on:
                    client.connection.send("turn", self.part.sealed, epoch=epoch)
                yield from ((client, i) for i in range(len(self.sizes[k])))
                if self.hands_on:
                    self.part.sealed = {f"{epoch}.{k}": self._sealed_weights(client)}
            return
        for i in range(max(map(len, self.sizes.values()))):
            yield from ((client, i) for k, client in self.clients.items() if i < len(self.sizes[k]))

    def _batch(self, client: ConnectedClient, place: tuple[int, int], size: int) -> float:
        """Answer one batch and train the top on it; returns the loss, or NaN where the client has it."""
        part, end, loss = self.part, self.part.end(), math.nan
        message = self._receive(client, "batch")
        with naming_sender(client.connection.peer):
            check_place(message, place)
            smashed = read_tensor(message, "smashed", part.cut_shape, part.dtype, size)
            if self.cell.protocol == "vanilla":
                loss_tensor, gradient = end.answer(smashed, read_labels(message, part.task, part.out_shape, size))
                loss = float(loss_tensor)
        if self.cell.protocol == "u_shape":
            client.connection.send("features", {"features": end.forward(smashed)})
            gradient = end.backward(self._gradient_of_features(client, size))
        client.connection.send("gradient", {"gradient": gradient})
        part.step()  # while the client uses its gradient
        return loss

    def _gradient_of_features(self, client: ConnectedClient, size: int) -> Tensor:
        message = self._receive(client, "gradient_features")
        with naming_sender(client.connection.peer):
            return read_tensor(message, "gradient_features", self.part.out_shape, self.part.dtype, size)

    def _receive(self, client: ConnectedClient, kind: str) -> Message:
        """The client's next message; Detected if its defence has stopped the training."""
        message = client.connection.receive(kind, "detected")
        if message.kind == "detected":
            raise Detected(f"{client.connection.peer}: {message.facts['why']}")
        return message

    def _check_connections(self) -> None:
        for client in self.clients.values():
            if client.connection.ended.is_set():
                raise ConnectionLost(client.connection.peer, "is gone (the connection broke)")

    def _sealed_weights(self, client: ConnectedClient) -> Tensor:
        message = self._receive(client, "weights")
        with naming_sender(client.connection.peer):
            return read_tensor(message, "sealed", (), torch.uint8)

    def relay_weights(self) -> None:
        """Where clients average: send each client the encrypted weights of all others."""
        if not self.averages:
            return
        sealed = {str(k): self._sealed_weights(client) for k, client in self.clients.items()}
        for k, client in self.clients.items():
            client.connection.send("weights", {name: t for name, t in sealed.items() if name != str(k)})

    @torch.no_grad()
    def answer_queries(self, *, stopped: bool) -> None:
        """After training: compute the trained top for each client until it has measured its utility."""
        accepted = ("query", "evaluated", *(IN_FLIGHT if stopped else ()))
        for client in self.clients.values():
            connection = client.connection
            connection.send("evaluate")
            while (message := connection.receive(*accepted)).kind != "evaluated":
                if message.kind == "query":
                    with naming_sender(connection.peer):
                        smashed = read_tensor(message, "smashed", self.part.cut_shape, self.part.dtype)
                    connection.send("prediction", {"prediction": self.part.top(smashed)})


def check_place(message: Message, expected: tuple[int, int]) -> None:
    """InvalidMessage if this is not the expected batch (epoch, index)."""
    place = tuple(read_tensor(message, "place", (), torch.int64).tolist())
    if place != expected:
        raise InvalidMessage(f"sent batch {place}, expected {expected} (epoch, index)")
