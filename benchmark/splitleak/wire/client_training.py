"""The client's side of training: send each smashed batch, receive its gradient, and train bottom and head."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from splitleak.contract import Shape
from splitleak.plan.settings import Train
from splitleak.train.ends import ClientEnd
from splitleak.train.step import finite, set_rate
from splitleak.wire.client_part import ClientPart
from splitleak.wire.connection import Connection
from splitleak.wire.invalid_message import naming_sender
from splitleak.wire.message import Message
from splitleak.wire.message_tensors import read_tensor
from splitleak.wire.progress import Progress


class TrainingEnded(Exception):
    """The server says that training has ended, where the client expected another message."""


class ClientTraining:
    """One attempt at the training over one connection."""

    def __init__(self, part: ClientPart, settings: Train) -> None:
        self.part, self.settings, self.connection = part, settings, part.connection

    def epoch(self, progress: Progress) -> None:
        """One pass over the client's records; under `u_shape` the mean loss goes to `progress`."""
        party = self.part.party
        set_rate(party.optimizers, self.settings, progress.epoch)
        batches, total, index = party.batches(), 0.0, 0
        batch = next(batches, None)
        while batch is not None:
            size, end = len(batch[0]), self._send((progress.epoch, index), *batch)
            batch = next(batches, None)  # while the server is busy
            total += size * self._train_on_answer(progress, end)
            progress.steps, index = progress.steps + 1, index + 1
        if self.part.split.head is not None:
            progress.losses.append(total / len(party.records))

    def _send(self, place: tuple[int, int], x: Tensor, y: Tensor) -> ClientEnd:
        """Send one batch; where the server has the loss, with its labels."""
        end = ClientEnd(self.part.split, self.part.live, self.part.task)
        tensors = {"smashed": end.send(x, y), "place": torch.tensor(place)}
        self.connection.send("batch", tensors | ({"labels": end.y} if self.part.split.head is None else {}))
        for optimizer in self.part.party.optimizers:
            optimizer.zero_grad()
        return end

    def _train_on_answer(self, progress: Progress, end: ClientEnd) -> float:
        """Receive the gradient and make one step; returns the loss, or NaN where the server has it."""
        loss, smashed, live = math.nan, end.ends[0].detach(), self.part.live
        if self.part.split.head is not None:
            features = self._tensor("features", self.part.split.out_shape, len(smashed))
            loss_tensor, gradient_features = end.judge(features)
            loss = finite(loss_tensor, f"at step {progress.steps} (epoch {progress.epoch})")
            self.connection.send("gradient_features", {"gradient_features": gradient_features})
        gradient = self._tensor("gradient", tuple(smashed.shape[1:]), len(smashed))
        live.inspect(gradient, end.y)
        end.receive(gradient)
        for optimizer in self.part.party.optimizers:
            optimizer.step()
        live.observe(end.x, smashed)
        return loss

    def _tensor(self, kind: str, shape: Shape, records: int) -> Tensor:
        """The one tensor (records, *shape) of a message of this kind."""
        message = receive_in_training(self.connection, kind)
        with naming_sender(self.connection.peer):
            return read_tensor(message, kind, shape, torch.get_default_dtype(), records)


def receive_in_training(connection: Connection, kind: str) -> Message:
    """The next message, of this kind; TrainingEnded if the server ends the training instead."""
    message = connection.receive(kind, "evaluate")
    if message.kind == "evaluate":
        raise TrainingEnded
    return message
