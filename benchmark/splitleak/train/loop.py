"""The split loop: one batch is one exchange at the cut, and training is an iterator of such steps.

An attack pulls it, or the harness drains it; no callbacks, no state machine. Sources: Gupta & Raskar 2018 (vanilla
and u-shaped split learning); Thapa et al. 2022, SplitFed-V2 (`parallel`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitleak.contract import Grant, Hooks, Parameters, Records, Task
from splitleak.contract.errors import Detected, Diverged
from splitleak.contract.split import Split
from splitleak.contract.view import Step
from splitleak.plan.settings import Clients, Train
from splitleak.train.augment import varied
from splitleak.train.division import divide
from splitleak.train.ends import ClientEnd, ServerEnd


@dataclass
class Exchange:
    """What crossed the cut for one batch, and the client that waits for the gradient."""

    wire: dict[str, Tensor]  # smashed, gradient and, where they cross, labels, features, gradient_features
    loss: Tensor
    client: ClientEnd


def exchange(split: Split, live: Hooks, task: Task, x: Tensor, y: Tensor, reduction: str = "mean") -> Exchange:
    """One batch up and its gradient down: fills the gradients of top and head, leaves the bottom's to `finish`."""
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
    """The client's backward, with the server's gradient or with what a hijacker sends in its place."""
    done.client.receive(done.wire["gradient"] if answer is None else answer)


class Party:
    """A client: its own parts, its own records and their order, and all optimisers that move at its turn."""

    def __init__(self, number: int, split: Split, records: Records, settings: Train, seed: int) -> None:
        self.number, self.split, self.records = number, split, records
        self.optimizers: list[torch.optim.Optimizer] = []
        self.order = torch.Generator().manual_seed(seed + number)
        self.settings = settings

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch over its records, in an order that depends on the seed alone."""
        for x, y, _ in self.drawn():
            yield x, y

    def drawn(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The same, each batch with the places of its records."""
        order = torch.randperm(len(self.records), generator=self.order).to(self.records.x.device)
        for index in batched(order, self.settings.batch_size):
            x, y = self.records.x[index], self.records.y[index]
            yield *varied(x, y, self.settings.flip, self.settings.augment, self.order), index


def batched(order: Tensor, size: int) -> list[Tensor]:
    """An epoch's order in batches; a last one of one record joins the one before: it has no norm and no range."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


class Training:
    """Training as an iterator of Steps; `split` holds the weights of this moment, the last client's or the average."""

    def __init__(
        self, split: Split, private: Records, task: Task, live: Hooks, settings: Train, clients: Clients, seed: int
    ) -> None:
        self.split, self.task, self.live, self.settings, self.clients = split, task, live, settings, clients
        self.epochs_done, self.steps_done, self.detected_at = 0, 0, -1
        self.losses: list[float] = []  # the task's: the mean of each whole epoch
        parts = divide(private, clients, task, seed)
        splits = [split] if clients.n == 1 else [_client_copy(split) for _ in parts]
        self.parties = [
            Party(i, s, records, settings, seed) for i, (s, records) in enumerate(zip(splits, parts, strict=True))
        ]
        self.current = self.parties[0]
        self._give_optimizers(make_optimizer(settings))

    def _give_optimizers(self, make: Callable[[Parameters], torch.optim.Optimizer]) -> None:
        """The server's, the same for all its clients, and each client's own, as the defence wants it.

        Where both would be alike and meet at every step they are one: not a bit differs, and a small step is a
        twentieth faster.
        """
        server = list(self.split.top.parameters())
        if self.clients.n == 1 and type(self.live).optimizer is Hooks.optimizer:
            everything = [*server, *self.split.client_parameters()]
            self.current.optimizers = [make(everything)] if everything else []
            return
        shared = [make(server)] if server else []
        for party in self.parties:
            own = bool(party.split.client_parameters())  # none, where the client only sends its records
            party.optimizers = [*shared, self.live.optimizer(party.split, make)] if own else shared

    def steps(
        self, grants: Grant, read: set[str], endless: bool = False, after_epoch: Callable[[], None] | None = None
    ) -> Iterator[Step]:
        """Train for `epochs`, or until nobody pulls any more; a defence that raises Detected ends it."""
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
        """All networks, and a defence that is one, into training mode or out of it."""
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
                if self.clients.n > 1:  # weights and buffers are handed on, the optimiser's state is not
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
        if not math.isfinite(loss := done.loss.item()):
            raise Diverged(f"the training loss is no number any more, at step {self.steps_done} (epoch {epoch})")
        step = Step((epoch, index, party.number), done.wire, self.split.top, grants, read)
        yield step
        step.close()
        self.live.inspect(done.wire["gradient"] if step.answer is None else step.answer, done.client.y)
        finish(done, step.answer)  # before any weight moves: the graph is still in the processor's cache
        for optimizer in party.optimizers:
            optimizer.step()
        self.live.observe(done.client.x, done.wire["smashed"])
        self.steps_done += 1
        return loss

    def gather(self) -> None:
        """Put into `split` what the client side is at this moment: who trains now, or the average."""
        if self.clients.n == 1:
            return
        if self.clients.mode == "parallel":
            average([self.split], [p.split for p in self.parties], [len(p.records) for p in self.parties])
        else:
            load_client(self.split, self.current.split)


def train_whole(
    split: Split,
    private: Records,
    task: Task,
    settings: Train,
    seed: int,
    after_epoch: Callable[[], None] | None = None,
) -> int:
    """Protocol `central`: the model was never cut; one optimiser for everything. Returns the number of steps."""
    party = Party(0, split, private, settings, seed)
    optimizer = make_optimizer(settings)(split.parameters())
    split.train()
    steps = 0
    for epoch in range(settings.epochs):
        set_rate([optimizer], settings, epoch)
        for x, y in party.batches():
            optimizer.zero_grad()
            loss = task.loss(split(x), y)
            if not math.isfinite(loss.item()):
                raise Diverged(f"the training loss is no number any more, at step {steps} (epoch {epoch})")
            loss.backward()
            optimizer.step()
            steps += 1
        if after_epoch:
            after_epoch()
    split.eval()
    return steps


def make_optimizer(settings: Train) -> Callable[[Parameters], torch.optim.Optimizer]:
    """What makes the optimiser that `[train]` asks for; fused, because a split pays one step call per party."""
    if settings.optimizer == "adam":
        return lambda params: torch.optim.Adam(params, lr=settings.lr, fused=True)
    return lambda params: torch.optim.SGD(params, lr=settings.lr, momentum=settings.momentum, fused=True)


def set_rate(optimizers: list[torch.optim.Optimizer], settings: Train, epoch: int) -> None:
    """The learning rate of this epoch, counted from 0."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * _factor(settings, epoch)


def _factor(settings: Train, epoch: int) -> float:
    if settings.schedule == "constant":
        return 1.0
    epoch = min(epoch, settings.epochs - 1)  # a hijacker that goes on is not left with a client that stands still
    return 0.5 * (1 + math.cos(math.pi * epoch / settings.epochs))


def _client_copy(split: Split) -> Split:
    """A client of its own with the one shared top."""
    return Split(copy.deepcopy(split.bottom), split.top, copy.deepcopy(split.head))


def client_tensors(split: Split) -> dict[str, Tensor]:
    """Weights and buffers on the client's side, by their names in the split."""
    parts = {"bottom": split.bottom} | ({} if split.head is None else {"head": split.head})
    return {f"{name}.{key}": t for name, part in parts.items() for key, t in part.state_dict().items()}


@torch.no_grad()
def load_client(to: Split, source: Split) -> None:
    """Hand one client's weights and buffers to another, in place, so that optimisers keep their hold."""
    if to is not source:
        for mine, theirs in zip(client_tensors(to).values(), client_tensors(source).values(), strict=True):
            mine.copy_(theirs)


@torch.no_grad()
def average(to: list[Split], splits: list[Split], sizes: list[int]) -> None:
    """Give the clients in `to` the mean of all clients' weights and buffers, weighted by their records."""
    theirs = [list(client_tensors(split).values()) for split in splits]
    ours = [list(client_tensors(split).values()) for split in to]
    for index, copies in enumerate(zip(*theirs, strict=True)):
        mean = mean_of(copies, sizes)
        for tensors in ours:
            tensors[index].copy_(mean)


@torch.no_grad()
def mean_of(copies: Sequence[Tensor], sizes: list[int]) -> Tensor:
    """All clients' copies of one tensor, weighted by their records, in double precision; of counters a whole number."""
    share = [size / sum(sizes) for size in sizes]
    mean = torch.stack([w * t.double() for w, t in zip(share, copies, strict=True)]).sum(0)
    return mean if copies[0].is_floating_point() else mean.round()
