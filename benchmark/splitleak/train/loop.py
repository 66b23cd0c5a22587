"""The split loop: one batch is one exchange at the cut, and training is an iterator of such steps.

An attack that observes the training pulls the iterator; otherwise the harness drains it. Sources: Gupta & Raskar 2018
(vanilla and u-shaped split learning); Thapa et al. 2022, SplitFed-V2 (`parallel`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from splitleak.contract import Detected, Grant, Hooks, Parameters, Records, Split, Step, Task
from splitleak.plan.settings import Clients, Train
from splitleak.train.averaging import average, client_copy, load_client
from splitleak.train.division import divide
from splitleak.train.ends import ClientEnd, ServerEnd
from splitleak.train.party import Party, relabelled
from splitleak.train.step import finite, make_optimizer, set_rate


@dataclass
class Exchange:
    """The tensors that crossed the cut for one batch, and the client that waits for the gradient."""

    wire: dict[str, Tensor]  # by name; `Traffic.messages` lists the names
    loss: Tensor
    client: ClientEnd


def exchange(split: Split, live: Hooks, task: Task, x: Tensor, y: Tensor, reduction: str = "mean") -> Exchange:
    """Send one batch up and its gradient down. Gradients of top and head are filled; `finish` fills the bottom's."""
    client, server = ClientEnd(split, live, task, reduction), ServerEnd(split.top, live, task, reduction)
    wire = {"smashed": client.send(x, y)}
    if split.head is None:
        wire["labels"] = client.y
        loss, wire["gradient"] = server.answer(wire["smashed"], client.y)
    else:
        wire["features"] = server.forward(wire["smashed"])
        loss, wire["gradient_features"] = client.judge(wire["features"])
        wire["gradient"] = server.backward(wire["gradient_features"])
    return Exchange({name: t.detach() for name, t in wire.items()}, loss, client)


def finish(done: Exchange, answer: Tensor | None) -> None:
    """The backward pass of the client, with the honest gradient or with what a hijacker sends in its place."""
    done.client.receive(done.wire["gradient"] if answer is None else answer)


class Training:
    """Training as an iterator of steps. `split` holds the present weights: of the last client, or the average."""

    def __init__(
        self, split: Split, private: Records, task: Task, live: Hooks, settings: Train, clients: Clients, seed: int
    ) -> None:
        self.split, self.task, self.live, self.settings, self.clients = split, task, live, settings, clients
        self.epochs_done, self.steps_done, self.detected_at = 0, 0, -1
        self.steps_sent = 0  # a step that a hijacker leaves or a defence stops is sent, but not done
        self.losses: list[float] = []  # mean loss of the task in each finished epoch
        parts = divide(private, clients, task, seed)
        splits = [split] if clients.n == 1 else [client_copy(split) for _ in parts]
        self.parties = [
            Party(i, s, relabelled(records, live), settings, seed)
            for i, (s, records) in enumerate(zip(splits, parts, strict=True))
        ]
        self.current = self.parties[0]
        self._give_optimizers(make_optimizer(settings))

    def _give_optimizers(self, make: Callable[[Parameters], torch.optim.Optimizer]) -> None:
        """One optimiser for the server, and one for each client, as the defence makes it.

        For a lone client without such a defence one optimiser moves everything: the bits are the same, and a small
        step is 5 % faster.
        """
        server = list(self.split.top.parameters())
        if self.clients.n == 1 and type(self.live).optimizer is Hooks.optimizer:
            everything = [*server, *self.split.client_parameters()]
            self.current.optimizers = [make(everything)] if everything else []
            return
        shared = [make(server)] if server else []
        for party in self.parties:
            own = bool(party.split.client_parameters())  # False if the client has no weights
            party.optimizers = [*shared, self.live.optimizer(party.split, make)] if own else shared

    def steps(
        self, grants: Grant, read: set[str], endless: bool = False, after_epoch: Callable[[], None] | None = None
    ) -> Iterator[Step]:
        """Train for `epochs`, or endlessly; `Detected`, raised by a defence, ends the training."""
        self._mode(training=True)
        try:
            while endless or self.epochs_done < self.settings.epochs:
                yield from self._epoch(self.epochs_done, grants, read)
                self.epochs_done += 1
                if after_epoch:
                    self.gather()
                    after_epoch()
        except Detected:
            self.detected_at = self.steps_done
        finally:
            self.gather()
            self._mode(training=False)

    def _mode(self, *, training: bool) -> None:
        """Put all networks, the live defence included, into training mode or eval mode."""
        for part in (self.split, *(p.split for p in self.parties), self.live):
            if isinstance(part, nn.Module):
                part.train(training)

    def _epoch(self, epoch: int, grants: Grant, read: set[str]) -> Iterator[Step]:
        set_rate([optimizer for party in self.parties for optimizer in party.optimizers], self.settings, epoch)
        total = 0.0
        for index, (party, x, y) in enumerate(self._turns()):
            total += len(x) * (yield from self._step(epoch, index, party, x, y, grants, read))
        self.losses.append(total / sum(len(party.records) for party in self.parties))
        if self.clients.mode == "parallel" and self.clients.n > 1:
            splits = [p.split for p in self.parties]
            average(splits, splits, [len(p.records) for p in self.parties])

    def _turns(self) -> Iterator[tuple[Party, Tensor, Tensor]]:
        if self.clients.mode == "sequential":
            for party in self.parties:
                if self.clients.n > 1:  # hand on weights and buffers, but not the state of the optimiser
                    load_client(party.split, self.parties[party.number - 1].split)
                for x, y in party.batches():
                    yield party, x, y
            return
        running = [(party, party.batches()) for party in self.parties]
        while running:
            for party, batches in list(running):
                batch = next(batches, None)
                if batch is None:
                    running.remove((party, batches))
                else:
                    yield party, *batch

    def _step(
        self, epoch: int, index: int, party: Party, x: Tensor, y: Tensor, grants: Grant, read: set[str]
    ) -> Generator[Step, None, float]:
        self.current = party
        for optimizer in party.optimizers:
            optimizer.zero_grad()
        done = exchange(party.split, self.live, self.task, x, y)
        loss = finite(done.loss, f"at step {self.steps_done} (epoch {epoch})")
        copy_top = partial(copy.deepcopy, self.split.top)
        self.steps_sent = self.steps_done + 1
        step = Step((epoch, index, party.number), done.wire, copy_top, grants, read)
        yield step
        step.close()
        self.live.inspect(done.wire["gradient"] if step.answer is None else step.answer, done.client.y)
        finish(done, step.answer)  # before any weight moves, while the graph is in the cache
        for optimizer in party.optimizers:
            optimizer.step()
        self.live.observe(done.client.x, done.wire["smashed"])
        self.steps_done += 1
        return loss

    def gather(self) -> None:
        """Put the present client weights into `split`: those of the client in training, or the average."""
        if self.clients.n == 1:
            return
        if self.clients.mode == "parallel":
            average([self.split], [p.split for p in self.parties], [len(p.records) for p in self.parties])
        else:
            load_client(self.split, self.current.split)
