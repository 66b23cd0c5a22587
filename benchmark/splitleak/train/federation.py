"""A federation in one process: the strategy and the app of the clients are Flower's, the grid is `LoopbackGrid`.

McMahan, Moore, Ramage, Hampson and Aguera y Arcas, "Communication-Efficient Learning of Deep Networks from
Decentralized Data", AISTATS 2017.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor

from splitleak.contract import BadInput, Update
from splitleak.plan.settings import Federated
from splitleak.train import secure
from splitleak.train.division import divide
from splitleak.train.facts import Sent
from splitleak.train.federated import Client, Weights, load, nudged, strategy_of, taking_part, weights
from splitleak.train.loopback import LoopbackGrid
from splitleak.train.party import relabelled
from splitleak.train.step import make_optimizer, rate_factor, whole_step
from splitleak.train.victim import Victim

ARRAYS, CONFIG, RECORDS = "arrays", "config", "num-examples"  # Flower's own names
NOTED = 4096  # the updates of so many records are noted; targets are taken from these
Sender = tuple[int, int]  # (round, client); client -1 is the mean of all
logging.getLogger("flwr").setLevel(logging.ERROR)  # otherwise a line for every message


class Federation:
    """Training under `fedavg`. `split` holds the average after the last finished round."""

    def __init__(self, victim: Victim) -> None:
        recipe, private = victim.recipe, victim.data.private
        self.split, self.task, self.live, self.defense = victim.split, victim.data.task, victim.live, victim.defense
        self.settings = cast(Federated, recipe.federated)
        own = {name: getattr(self.settings, name) for name in ("batch_size", "optimizer", "lr")}
        self.train = replace(recipe.train, **{name: value for name, value in own.items() if value is not None})
        positions = replace(private, id=torch.arange(len(private)))
        self.places = divide(positions, recipe.clients, self.task, recipe.seeds.order)
        parts = [private.take(part.id.to(private.x.device)) for part in self.places]
        self.parties = [
            Client(i, self.split, relabelled(part, self.live), places.id, self.train, recipe.seeds.order)
            for i, (part, places) in enumerate(zip(parts, self.places, strict=True))
        ]
        self.rounds_done, self.steps_done, self.losses, self.sent = 0, 0, list[float](), Sent()
        self.updates: list[Update] = []
        self.wanted: dict[Sender, Tensor] = {}  # positions of targets by update

    def run(self, after_round: Callable[[], None], wanted: dict[Sender, Tensor] | None = None) -> None:
        """Train all rounds. `updates` then holds copies of the updates that `wanted` names."""
        self.wanted = wanted or {}
        if self.defense.sums:
            self._summed(after_round)
            return
        grid = LoopbackGrid(self._app(), len(self.parties), self._observe)

        def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord | None:
            load(self.split, arrays.to_torch_state_dict())
            self.rounds_done = number
            if number and number % self.settings.utility_every == 0:
                after_round()
            return None

        strategy = self.defense.strategy(strategy_of(self.settings, len(self.parties)), self._in_a_round())
        first = ArrayRecord(weights(self.split))
        strategy.start(grid=grid, initial_arrays=first, num_rounds=self.settings.rounds, evaluate_fn=evaluate)
        self.split.eval()

    def _summed(self, after_round: Callable[[], None]) -> None:
        """Train all rounds under secure aggregation: the server learns only the mean."""
        if self.settings.strategy != "fedavg" or self._in_a_round() < 2:
            found = f"strategy {self.settings.strategy} and {self._in_a_round()} clients in a round"
            raise BadInput(f"defense '{self.defense}': {found}; it takes fedavg and two clients or more")
        first = before = weights(self.split)
        number = 0

        def turn(client: int, given: Weights) -> tuple[Weights, int]:
            load(self.split, given)
            self._local(self.parties[client], number, 0.0)
            return weights(self.split), len(self.parties[client].records)

        grid = LoopbackGrid(secure.app_of(turn, list(first)), len(self.parties), lambda message, reply: None)
        most = max(len(party.records) for party in self.parties)
        means = secure.rounds(grid, first, self.settings.rounds, self.settings.fraction, self._in_a_round(), most)
        for number in range(1, self.settings.rounds + 1):
            mean = next(means)
            load(self.split, mean)
            self.rounds_done = number
            self._keep((number, -1), before, mean, self._in_a_round())
            if number % self.settings.utility_every == 0:
                after_round()
            before = mean
        self.split.eval()

    def _in_a_round(self) -> int:
        return taking_part(self.settings.fraction, len(self.parties))

    def _app(self) -> ClientApp:
        mods = self.defense.mods()
        app = ClientApp(mods=mods)

        @app.train()
        def train(message: Message, context: Context) -> Message:
            party = self.parties[int(context.node_config["partition-id"])]
            content: Any = message.content
            config = content[CONFIG]
            before = content[ARRAYS].to_torch_state_dict()
            load(self.split, before)
            n = self._local(party, int(config["server-round"]), float(config.get("proximal-mu", 0.0)))
            metrics = MetricRecord({RECORDS: len(party.records), "alike": 1, "steps": n})
            after = nudged(weights(self.split), before) if mods else weights(self.split)
            return Message(RecordDict({ARRAYS: ArrayRecord(after), "metrics": metrics}), reply_to=message)

        return app

    def _local(self, party: Client, number: int, mu: float) -> int:
        """The training of one client in one round, with a fresh optimiser. Returns its number of steps."""
        self.split.train()
        start = [p.detach().clone() for p in self.split.parameters()]
        optimizer = make_optimizer(replace(self.train, lr=self._lr(number)))(self.split.parameters())
        losses, places = list[float](), list[Tensor]()
        where = f"in round {number} of client {party.number}"
        for x, y, used in party.turn(self.settings):
            batch = self.live.batch(x, y)
            penalty = self._proximal(start, mu) if mu else None
            losses.append(whole_step(self.split, self.task, optimizer, batch, where, penalty))
            places.append(used)
        self.steps_done += len(losses)
        self.losses.append(sum(losses) / len(losses))
        self._note(number, party.number, torch.cat(places).unique().tolist())
        return len(losses)

    def _note(self, number: int, client: int, places: list[int]) -> None:
        """Note which records are in the update that the server gets."""
        if self.defense.sums:
            client = -1
            if self.sent and self.sent[-1][0] == number:
                self.sent[-1][2].extend(places)
                return
        if sum(len(noted) for _, _, noted in self.sent) < NOTED:
            self.sent.append((number, client, places))

    def _lr(self, number: int) -> float:
        return self.train.lr * rate_factor(replace(self.train, epochs=self.settings.rounds), number - 1)

    def _proximal(self, start: list[Tensor], mu: float) -> Tensor:
        """mu / 2 |w - first w|^2: Li et al., "Federated Optimization in Heterogeneous Networks", 2020."""
        moved = zip(self.split.parameters(), start, strict=True)
        return mu / 2 * torch.stack([(p - first).square().sum() for p, first in moved]).sum()

    def _observe(self, message: Message, reply: Message) -> None:
        """Keep what the server holds after the reply of a client."""
        request, answer = cast(Any, message.content), cast(Any, reply.content)
        sender = int(request[CONFIG]["server-round"]), message.metadata.dst_node_id - 1
        if sender in self.wanted:
            before, after = (content[ARRAYS].to_torch_state_dict() for content in (request, answer))
            self._keep(sender, before, after, 1)

    def _keep(self, sender: Sender, before: Weights, after: Weights, clients: int) -> None:
        """Keep a copy of a wanted update; a mean counts as one client with larger batches."""
        if sender not in self.wanted:
            return
        number, client = sender
        records = sum(len(p.records) for p in self.parties if client in (-1, p.number))
        size = self.train.batch_size
        epochs = -(-records // (size * clients)) * self.settings.local_epochs
        steps = epochs if self.settings.local_steps is None else self.settings.local_steps
        n = min(steps * size * clients, records)
        self.updates.append(
            Update(
                number, client, n, before, after, self._lr(number), steps, size * clients, self.train.optimizer,
                self.wanted[sender],
            )
        )  # fmt: skip
