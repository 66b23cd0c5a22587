"""A federation in one process: the strategy and the clients' app are Flower's, the grid between them is a call.

McMahan, Moore, Ramage, Hampson and Aguera y Arcas, "Communication-Efficient Learning of Deep Networks from
Decentralized Data", AISTATS 2017. `Grid` is where Flower lets a transport in. Its own simulation starts a Ray cluster
for every run (`run_simulation`, deprecated) or daemons around a folder (`flwr run`); a cell of a benchmark needs
neither, and its workers have one thread each.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedProx
from flwr.supercore.task_identity import TaskIdentity
from torch import Tensor, nn

from splitleak.contract import Defense, Hooks, Records, Task
from splitleak.contract.errors import BadInput, Diverged
from splitleak.contract.split import Split
from splitleak.contract.view import Update
from splitleak.plan.settings import Clients, Federated, Train
from splitleak.train.division import divide
from splitleak.train.loop import Party, _factor, make_optimizer

if TYPE_CHECKING:
    from flwr.serverapp.strategy import Strategy
    from flwr.supercore.run import Run

ARRAYS, CONFIG, RECORDS = "arrays", "config", "num-examples"  # Flower's own names
TOLD = 4096  # records whose update is noted, the first ones: targets are taken from these
logging.getLogger("flwr").setLevel(logging.ERROR)  # a line for every message otherwise

Weights = dict[str, Tensor]
Sent = list[tuple[int, int, list[int]]]  # (round, client, places of the records in the private part)


class Here(Grid):
    """Every client in this process, one after the other: a message is a call of the client's app."""

    def __init__(self, app: ClientApp, clients: int, saw: Callable[[Message, Message], None]) -> None:
        self.app, self.saw = app, saw
        self.nodes = {k + 1: Context(1, k + 1, {"partition-id": k}, RecordDict(), {}) for k in range(clients)}
        self.replies: dict[str, Message] = {}
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1  # what messages are signed with

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Calls at once; who raises, raises here: a client of a benchmark does not fall silent."""
        pushed: list[str] = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = name = str(len(self.replies) + len(pushed))
            own = copy.deepcopy(message)  # as if it had been sent: a client may take its copy apart
            reply = self.app(own, self.nodes[message.metadata.dst_node_id])
            if reply.has_error():  # a modifier's, which tells so; whoever else is wrong has raised
                raise RuntimeError(f"client {message.metadata.dst_node_id - 1}: {reply.error.reason}")
            self.saw(message, reply)
            self.replies[name] = reply
            pushed.append(name)
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self.replies.pop(name) for name in message_ids]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return self.pull_messages(self.push_messages(messages))

    def create_message(self, content: RecordDict, message_type: str, dst_node_id: int, *rest: Any) -> Message:
        return Message(content, dst_node_id, message_type)

    def set_run(self, run: Run) -> None:
        """There is but one."""

    @property
    def run(self) -> Run:
        from flwr.supercore.run import Run

        return Run.create_empty(1)


class Client(Party):
    """A party that is asked for so many passes, or batches, of training on its own records, and knows which it used."""

    def __init__(self, number: int, split: Split, records: Records, places: Tensor, settings: Train, seed: int) -> None:
        super().__init__(number, split, records, settings, seed)
        self.places, self.endless = places, self._endless()

    def turn(self, asked: Federated) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The batches (x, y, places) of one round."""
        if asked.local_steps is not None:
            yield from islice(self.endless, asked.local_steps)
        else:
            for _ in range(asked.local_epochs):
                yield from self._epoch()

    def _endless(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        while True:
            yield from self._epoch()

    def _epoch(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for x, y, index in self.drawn():
            yield x, y, self.places[index.cpu()]


class Federation:
    """Training under `fedavg`; `split` holds the average of the last round that is over."""

    def __init__(
        self, split: Split, private: Records, task: Task, live: Hooks, defense: Defense, train: Train,
        asked: Federated, clients: Clients, seed: int,
    ) -> None:  # fmt: skip
        self.split, self.task, self.live, self.defense, self.asked = split, task, live, defense, asked
        own = {name: getattr(asked, name) for name in ("batch_size", "optimizer", "lr")}
        self.train = replace(train, **{name: value for name, value in own.items() if value is not None})
        self.places = divide(replace(private, id=torch.arange(len(private))), clients, task, seed)
        parts = [private.take(part.id.to(private.x.device)) for part in self.places]
        self.parties = [
            Client(i, split, part, places.id, self.train, seed)
            for i, (part, places) in enumerate(zip(parts, self.places, strict=True))
        ]
        self.steps_done, self.losses, self.sent = 0, list[float](), Sent()
        self.updates: list[Update] = []
        self.wanted: dict[tuple[int, int], Tensor] = {}  # (round, client) -> positions of targets

    def run(self, after_round: Callable[[], None], wanted: dict[tuple[int, int], Tensor] | None = None) -> None:
        """All rounds. `wanted` says of whose updates copies are kept in `updates`."""
        self.wanted = wanted or {}
        grid = Here(self._app(), len(self.parties), self._saw)

        def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord | None:
            load(self.split, arrays.to_torch_state_dict())
            if number and number % self.asked.utility_every == 0:
                after_round()
            return None

        if self.defense.sums:
            self._summed(after_round)
            return
        strategy = self.defense.strategy(strategy_of(self.asked, len(self.parties)), self._in_a_round())
        first = ArrayRecord(weights(self.split))
        strategy.start(grid=grid, initial_arrays=first, num_rounds=self.asked.rounds, evaluate_fn=evaluate)
        self.split.eval()

    def _summed(self, after_round: Callable[[], None]) -> None:
        """All rounds, the server learning the mean alone."""
        from splitleak.train import secure

        if self.asked.strategy != "fedavg" or self._in_a_round() < 2:
            told = f"strategy {self.asked.strategy} and {self._in_a_round()} clients in a round"
            raise BadInput(f"defense '{self.defense}': {told}; it takes fedavg and two clients or more")
        first = before = weights(self.split)
        number = 0

        def turn(client: int, given: Weights) -> tuple[Weights, int]:
            load(self.split, given)
            self._local(self.parties[client], number, 0.0)
            return weights(self.split), len(self.parties[client].records)

        grid = Here(secure.app_of(turn, list(first)), len(self.parties), lambda message, reply: None)
        most = max(len(party.records) for party in self.parties)
        made = secure.rounds(grid, first, self.asked.rounds, self.asked.fraction, self._in_a_round(), most)
        for number in range(1, self.asked.rounds + 1):
            mean = next(made)
            load(self.split, mean)
            self._keep((number, -1), before, mean, self._in_a_round())
            if number % self.asked.utility_every == 0:
                after_round()
            before = mean
        self.split.eval()

    def _in_a_round(self) -> int:
        return taking_part(self.asked.fraction, len(self.parties))

    def _app(self) -> ClientApp:
        mods = self.defense.mods()
        app = ClientApp(mods=mods)

        @app.train()
        def train(message: Message, context: Context) -> Message:
            party = self.parties[int(context.node_config["partition-id"])]
            content: Any = message.content  # what lies under a name is the sender's word
            config = content[CONFIG]
            before = content[ARRAYS].to_torch_state_dict()
            load(self.split, before)
            n = self._local(party, int(config["server-round"]), float(config.get("proximal-mu", 0.0)))
            told = MetricRecord({RECORDS: len(party.records), "alike": 1, "steps": n})
            after = stirred(weights(self.split), before) if mods else weights(self.split)
            return Message(RecordDict({ARRAYS: ArrayRecord(after), "metrics": told}), reply_to=message)

        return app

    def _local(self, party: Client, number: int, mu: float) -> int:
        """One client's turn, from the weights that it was sent; a fresh optimiser each time. Returns its steps."""
        self.split.train()
        start = [p.detach().clone() for p in self.split.parameters()]
        optimizer = make_optimizer(replace(self.train, lr=self._lr(number)))(self.split.parameters())
        steps, total, places = 0, 0.0, []
        for x, y, used in party.turn(self.asked):
            x, y = self.live.batch(x, y)
            optimizer.zero_grad()
            loss = self.task.loss(self.split(x), y)
            if not math.isfinite(loss.item()):
                raise Diverged(f"the training loss is no number any more, in round {number} of client {party.number}")
            (loss + self._pull(start, mu) if mu else loss).backward()
            optimizer.step()
            steps, total = steps + 1, total + loss.item()
            places.append(used)
        self.steps_done += steps
        self.losses.append(total / steps)
        self._note(number, party.number, torch.cat(places).unique().tolist())
        return steps

    def _note(self, number: int, client: int, places: list[int]) -> None:
        """Which records went into what the server gets."""
        if self.defense.sums:
            client = -1
            if self.sent and self.sent[-1][0] == number:
                self.sent[-1][2].extend(places)
                return
        if sum(len(told) for _, _, told in self.sent) < TOLD:
            self.sent.append((number, client, places))

    def _lr(self, number: int) -> float:
        return self.train.lr * _factor(replace(self.train, epochs=self.asked.rounds), number - 1)

    def _pull(self, start: list[Tensor], mu: float) -> Tensor:
        """mu / 2 |w - w at first|^2: Li et al., "Federated Optimization in Heterogeneous Networks", 2020."""
        moved = zip(self.split.parameters(), start, strict=True)
        return mu / 2 * torch.stack([(p - was).square().sum() for p, was in moved]).sum()

    def _saw(self, message: Message, reply: Message) -> None:
        """What the server holds after a client's answer."""
        asked, answered = cast(Any, message.content), cast(Any, reply.content)
        sender = int(asked[CONFIG]["server-round"]), message.metadata.dst_node_id - 1
        if sender in self.wanted:
            before, after = (content[ARRAYS].to_torch_state_dict() for content in (asked, answered))
            self._keep(sender, before, after, 1)

    def _keep(self, sender: tuple[int, int], before: Weights, after: Weights, clients: int) -> None:
        """A copy, where it is asked for; of a mean as if one client had had larger batches."""
        if sender not in self.wanted:
            return
        number, client = sender
        records = sum(len(p.records) for p in self.parties if client in (-1, p.number))
        size = self.train.batch_size
        epochs = -(-records // (size * clients)) * self.asked.local_epochs
        steps = epochs if self.asked.local_steps is None else self.asked.local_steps
        n = min(steps * size * clients, records)
        self.updates.append(
            Update(
                number, client, n, before, after, self._lr(number), steps, size * clients, self.train.optimizer,
                self.wanted[sender],
            )
        )  # fmt: skip


def weights(network: nn.Module) -> Weights:
    """All that is averaged: weights and buffers, but for counts."""
    return {name: t.detach().cpu().clone() for name, t in network.state_dict().items() if t.is_floating_point()}


@torch.no_grad()
def load(network: nn.Module, given: Weights) -> None:
    mine = network.state_dict()
    for name, t in given.items():
        mine[name].copy_(t)


def stirred(after: Weights, before: Weights) -> Weights:
    """Weights that have not moved at all, as where noise has saturated a network, move by the least step of one float.

    Flower's clipping divides by the length of an update.
    """
    if all(torch.equal(t, before[name]) for name, t in after.items()):
        one = next(iter(after.values())).view(-1)[:1]
        one.copy_(torch.nextafter(one, torch.full_like(one, math.inf)))
    return after


def taking_part(fraction: float, clients: int) -> int:
    """Clients in a round, at least one: Flower rounds down."""
    return max(1, int(clients * fraction))


def strategy_of(asked: Federated, clients: int) -> Strategy:
    """Flower's strategy by name; it waits for nobody and asks for no evaluation at the clients."""
    common: dict[str, Any] = {
        "fraction_train": asked.fraction,
        "fraction_evaluate": 0.0,
        "min_train_nodes": taking_part(asked.fraction, clients),
        "min_available_nodes": clients,
    }
    if asked.strategy == "fedprox":
        return FedProx(**common, proximal_mu=asked.proximal_mu)
    if asked.strategy == "fedadam":
        return FedAdam(**common, eta=asked.server_lr)
    return FedAvg(**common)
