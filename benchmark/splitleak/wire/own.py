"""What is trained at a client: bottom and head, under the defence, on records that never leave it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from splitleak.contract import Data
from splitleak.contract.errors import BadInput
from splitleak.plan.case import Case
from splitleak.score import utility
from splitleak.snapshot import load_optimizers, optimizer_tensors, with_prefix
from splitleak.train.averaging import client_tensors, mean_of
from splitleak.train.data import load_data
from splitleak.train.division import divide
from splitleak.train.ends import ClientEnd
from splitleak.train.party import Party
from splitleak.train.step import finite, make_optimizer, set_rate
from splitleak.train.victim import fresh
from splitleak.wire.envelope import Seal
from splitleak.wire.keep import Story
from splitleak.wire.line import Line
from splitleak.wire.message import Message, Rejected, take, told_by


class Over(Exception):
    """The server says that training has ended."""


def own_data(case: Case, number: int, own_records: bool) -> Data:
    """What this client holds: its part of the private records and its share of the test part, which may be empty."""
    cell = case.cell
    if number >= cell.clients.n:
        raise BadInput(f"--client {number}: there are {cell.clients.n} clients, 0 to {cell.clients.n - 1}")
    data = load_data(case, torch.device("cpu"))
    if own_records or cell.clients.n == 1:
        return data
    private = divide(data.private, cell.clients, data.task, cell.seeds.order)[number]
    share = utility.shares_of_test(data.test, cell.clients, data.task, cell.seeds.order)[number]
    return replace(data, private=private, test=data.test.take(torch.arange(0)) if share is None else share)


class Own:
    """Bottom and head with their optimiser, the live defence, and the line to the server that has the top."""

    def __init__(self, case: Case, data: Data, number: int, line: Line, wait: float) -> None:
        cell, made = case.cell, fresh(case, data)
        self.victim, self.cell, self.live = made, cell, made.live
        self.split, self.out_shape, self.task = made.split, made.split.out_shape, data.task
        self.split.top = Remote(self.ask)
        self.party = Party(number, self.split, data.private, cell.train, cell.seeds.order)
        if self.split.client_parameters():
            self.party.optimizers = [self.live.optimizer(self.split, make_optimizer(cell.train))]
        self.line, self.wait = line, wait

    def mode(self, *, training: bool) -> None:
        for part in (self.split, self.live):
            if isinstance(part, nn.Module):
                part.train(training)

    def learned(self) -> dict[str, Tensor]:
        live = self.live.state_dict() if isinstance(self.live, nn.Module) else {}
        own = {f"split.{name}": t for name, t in client_tensors(self.split).items()}
        return own | {f"defense.{name}": t for name, t in live.items()}

    def tensors(self) -> dict[str, Tensor]:
        """All that moves, but for random states; a defence with a state of its own cannot be kept."""
        return self.learned() | optimizer_tensors(self.party.optimizers) | {"order": self.party.order.get_state()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        self.take_over(with_prefix(tensors, "split."))
        load_optimizers(self.party.optimizers, tensors)
        self.party.order.set_state(tensors["order"])

    @torch.no_grad()
    def take_over(self, tensors: dict[str, Tensor]) -> None:
        """Weights and buffers from elsewhere, in place, so that the optimiser keeps its hold."""
        mine = client_tensors(self.split)
        if mine.keys() != tensors.keys() or any(mine[k].shape != tensors[k].shape for k in mine):
            raise Rejected("another client's weights are of another network")
        for name, t in mine.items():
            t.copy_(tensors[name])

    def epoch(self, story: Story) -> None:
        """One pass over its own records; the mean loss is noted where it is the client's."""
        set_rate(self.party.optimizers, self.cell.train, story.epoch)
        batches, total, index = self.party.batches(), 0.0, 0
        batch = next(batches, None)
        while batch is not None:
            size, end = len(batch[0]), self._up((story.epoch, index), *batch)
            batch = next(batches, None)  # while the server is busy
            total += size * self._down(story, end)
            story.steps, index = story.steps + 1, index + 1
        if self.split.head is not None:
            story.losses.append(total / len(self.party.records))

    def _up(self, place: tuple[int, int], x: Tensor, y: Tensor) -> ClientEnd:
        """One batch up."""
        end = ClientEnd(self.split, self.live, self.task)
        up = {"smashed": end.send(x, y), "place": torch.tensor(place)}
        self.line.send("batch", up | ({"labels": end.y} if self.split.head is None else {}))
        for optimizer in self.party.optimizers:
            optimizer.zero_grad()
        return end

    def _down(self, story: Story, end: ClientEnd) -> float:
        """Its gradient down, and one step; returns the loss, NaN where it is the server's."""
        loss, smashed = math.nan, end.ends[0].detach()
        if self.split.head is not None:
            lost, gradient = end.judge(self._tensor("features", (len(smashed), *self.out_shape)))
            loss = finite(lost, f"at step {story.steps} (epoch {story.epoch})")
            self.line.send("gradient_features", {"gradient_features": gradient})
        answer = self._tensor("gradient", smashed.shape)
        self.live.inspect(answer, end.y)
        end.receive(answer)
        for optimizer in self.party.optimizers:
            optimizer.step()
        self.live.observe(end.x, smashed)
        return loss

    def _tensor(self, kind: str, shape: tuple[int, ...]) -> Tensor:
        message = self.hear(kind)
        with told_by(self.line.who):
            t = take(message, kind, tuple(shape[1:]), torch.get_default_dtype())
            if len(t) != shape[0]:
                raise Rejected(f"'{kind}' of {len(t)} records for {shape[0]}")
        return t

    def ask(self, z: Tensor) -> Tensor:
        """After training: what the top makes of (B, *cut)."""
        self.line.send("ask", {"smashed": z})
        message = self.line.receive("answer", within=self.wait)
        with told_by(self.line.who):
            return take(message, "out", self.out_shape, z.dtype)

    def hear(self, kind: str) -> Message:
        """The next message of this kind; Over where the server ends the training instead."""
        message = self.line.receive(kind, "evaluate", within=self.wait)
        if message.kind == "evaluate" != kind:
            raise Over
        return message


class Others:
    """How clients hand on their weights: sealed, through the server, which cannot read them."""

    def __init__(self, own: Own, seal: Seal, run: str, sizes: dict[int, int]) -> None:
        self.own, self.seal, self.run, self.sizes = own, seal, run, sizes  # client -> records
        self.number, self.in_turn = own.party.number, own.cell.clients.mode == "sequential"

    def before(self, epoch: int) -> None:
        """In turn: wait for it, and go on from what the client before sealed, in this epoch or the last."""
        if not self.in_turn:
            return
        for name, sealed in self.own.hear("turn").tensors.items():
            then, _, number = name.partition(".")
            if then not in (str(epoch), str(epoch - 1)):
                raise Rejected(f"the server: weights of epoch {then} in epoch {epoch}")
            self.own.take_over(self.seal.open(sealed, self._about(then, number)))

    def average(self, epoch: int) -> None:
        """Side by side: each client averages by itself, in the order of their numbers."""
        if self.in_turn:
            return
        self._send(epoch)
        others = self.own.hear("weights").tensors
        if others.keys() != {str(k) for k in self.sizes} - {str(self.number)}:
            raise Rejected("the server: not the weights of all other clients")
        copies = {int(k): self.seal.open(sealed, self._about(str(epoch), k)) for k, sealed in others.items()}
        copies[self.number] = client_tensors(self.own.split)
        order = sorted(copies)
        sizes = [self.sizes[k] for k in order]
        self.own.take_over({n: mean_of([copies[k][n] for k in order], sizes) for n in copies[self.number]})

    def hand_on(self, epoch: int) -> None:
        """In turn, when all of this epoch is kept."""
        if self.in_turn:
            self._send(epoch)

    def _send(self, epoch: int) -> None:
        sealed = self.seal.close(client_tensors(self.own.split), self._about(str(epoch), str(self.number)))
        self.own.line.send("weights", {"sealed": sealed})

    def _about(self, epoch: str, number: str) -> str:
        return f"{self.own.cell.victim_key} {self.run} epoch {epoch} client {number}"


class Remote(nn.Module):
    """The top as a client has it: what is asked of it goes to the server, and the answer comes back."""

    def __init__(self, ask: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.ask = ask

    def forward(self, z: Tensor) -> Tensor:
        return self.ask(z)
