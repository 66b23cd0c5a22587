"""What is trained at the server: the top, batch by batch in the order of the in-process loop, and asked at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from splitleak.contract import Detected
from splitleak.contract.nouns import Form
from splitleak.plan.case import Case
from splitleak.snapshot import load_optimizers, optimizer_tensors, with_prefix
from splitleak.train import victim
from splitleak.train.ends import ServerEnd
from splitleak.train.party import batched
from splitleak.train.step import finite, make_optimizer, set_rate
from splitleak.wire.door import Seat
from splitleak.wire.keep import Story
from splitleak.wire.line import Lost
from splitleak.wire.message import Message, Rejected, labels, take, told_by

STALE = ("batch", "gradient_features", "weights", "detected")  # under way to a server that has stopped the training


class Top:
    """The top with its optimiser, the defence's `gradient` where labels come up, and whoever is here to train it."""

    def __init__(self, case: Case, form: Form, seats: dict[int, Seat], wait: float) -> None:
        cell = case.cell
        self.cell, self.task, self.seats, self.wait = cell, form.task, seats, wait
        split, self.live = victim.networks(case, form, torch.device("cpu"))
        self.network: nn.Module = split.top  # bottom and head are the clients', and these untrained ones go
        self.cut_shape, self.out_shape = split.cut_shape, split.out_shape
        parameters = list(self.network.parameters())
        self.optimizers = [make_optimizer(cell.train)(parameters)] if parameters else []
        self.dtype = next((p.dtype for p in parameters), torch.get_default_dtype())
        self.handed: dict[str, Tensor] = {}  # by a client, sealed, for the next one: "<epoch>.<client>"
        self.records = {k: seat.hello.records for k, seat in seats.items()}
        self.sizes = {
            k: [len(part) for part in batched(torch.arange(n), cell.train.batch_size)] for k, n in self.records.items()
        }

    def mode(self, *, training: bool) -> None:
        for part in (self.network, self.live):
            if isinstance(part, nn.Module):
                part.train(training)

    def learned(self) -> dict[str, Tensor]:
        return {f"split.top.{name}": t for name, t in self.network.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """All that moves, but for random states."""
        handed = {f"handed.{name}": t for name, t in self.handed.items()}
        return self.learned() | optimizer_tensors(self.optimizers) | handed

    def load(self, tensors: dict[str, Tensor]) -> None:
        self.network.load_state_dict(with_prefix(tensors, "split.top."))
        load_optimizers(self.optimizers, tensors)
        self.handed = with_prefix(tensors, "handed.")

    def epoch(self, story: Story) -> None:
        """All batches of an epoch, each at its turn; the mean loss is noted where the labels come up."""
        set_rate(self.optimizers, self.cell.train, story.epoch)
        total, vanilla = 0.0, self.cell.protocol == "vanilla"
        for seat, index in self._turns(story.epoch):
            size = self.sizes[seat.hello.client][index]
            loss = self._batch(seat, (story.epoch, index), size)
            if vanilla:
                finite(loss, f"at step {story.steps} (epoch {story.epoch})")
            total, story.steps = total + size * loss, story.steps + 1
            for other in self.seats.values():
                if other.line.gone:
                    raise Lost(other.line.who, "is gone (the connection broke)")
        if vanilla:
            story.losses.append(total / sum(self.records.values()))

    def _turns(self, epoch: int) -> Iterator[tuple[Seat, int]]:
        """Whose batch is next, and its number there: as the in-process loop has them."""
        if self.cell.clients.mode == "sequential":
            for k, seat in self.seats.items():
                if self.cell.clients.n > 1:
                    seat.line.send("turn", self.handed, epoch=epoch)
                yield from ((seat, i) for i in range(len(self.sizes[k])))
                if self.cell.clients.n > 1:
                    self.handed = {f"{epoch}.{k}": self._sealed(seat)}
            return
        for i in range(max(map(len, self.sizes.values()))):
            yield from ((seat, i) for k, seat in self.seats.items() if i < len(self.sizes[k]))

    def _batch(self, seat: Seat, place: tuple[int, int], size: int) -> float:
        """One batch up and its gradient down; returns the loss, NaN where it is the client's."""
        line, end, loss = seat.line, ServerEnd(self.network, self.live, self.task), math.nan
        message = self._receive(seat, "batch")
        with told_by(line.who):
            if (there := tuple(take(message, "place", (), torch.int64).tolist())) != place:
                raise Rejected(f"batch {there} where {place} is due (epoch, index)")
            smashed = sized(take(message, "smashed", self.cut_shape, self.dtype), size)
            if self.cell.protocol == "vanilla":
                y = labels(message, self.task, self.out_shape, size)
                lost, gradient = end.answer(smashed, y)
                loss = float(lost)
        if self.cell.protocol == "u_shape":
            line.send("features", {"features": end.forward(smashed)})
            message = self._receive(seat, "gradient_features")
            with told_by(line.who):
                up = sized(take(message, "gradient_features", self.out_shape, self.dtype), size)
            gradient = end.backward(up)
        line.send("gradient", {"gradient": gradient})
        for optimizer in self.optimizers:  # while the client is busy with its gradient
            optimizer.step()
            optimizer.zero_grad()
        return loss

    def _receive(self, seat: Seat, kind: str) -> Message:
        message = seat.line.receive(kind, "detected", within=self.wait)
        if message.kind == "detected":
            raise Detected(f"{seat.line.who}: {message.facts.get('why')}")
        return message

    def _sealed(self, seat: Seat) -> Tensor:
        message = self._receive(seat, "weights")
        with told_by(seat.line.who):
            return take(message, "sealed", (), torch.uint8)

    def relay(self) -> None:
        """After an epoch side by side: to every client what all others have sealed."""
        sealed = {str(k): self._sealed(seat) for k, seat in self.seats.items()}
        for k, seat in self.seats.items():
            seat.line.send("weights", {name: t for name, t in sealed.items() if name != str(k)})

    @torch.no_grad()
    def examine(self, *, early: bool) -> None:
        """Answer what each client asks of the trained top, until it says that it knows its utility."""
        for seat in self.seats.values():
            line = seat.line
            line.send("evaluate")
            stale = STALE if early else ()
            while (message := line.receive("ask", "bye", *stale, within=self.wait)).kind != "bye":
                if message.kind == "ask":
                    with told_by(line.who):
                        smashed = take(message, "smashed", self.cut_shape, self.dtype)
                    line.send("answer", {"out": self.network(smashed)})


def sized(t: Tensor, size: int) -> Tensor:
    if len(t) != size:
        raise Rejected(f"a batch of {len(t)} where {size} are due")
    return t
