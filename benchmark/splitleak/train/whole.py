"""Protocol `central`: the network was never cut, and one optimiser moves all of it."""

from __future__ import annotations

from collections.abc import Callable

from splitleak.contract import Hooks, Records, Split, Task
from splitleak.plan.settings import Train
from splitleak.train.party import Party
from splitleak.train.step import make_optimizer, set_rate, whole_step


class WholeTraining:
    """Plain training of a network in one piece; it can be kept and resumed after each epoch."""

    def __init__(self, split: Split, private: Records, task: Task, settings: Train, seed: int) -> None:
        self.split, self.task, self.settings, self.live = split, task, settings, Hooks()
        self.epochs_done, self.steps_done = 0, 0
        self.losses: list[float] = []  # unused: only a split training records its loss curve
        party = Party(0, split, private, settings, seed)
        party.optimizers = [make_optimizer(settings)(split.parameters())]
        self.parties = [party]

    def run(self, after_epoch: Callable[[], None] | None = None) -> None:
        """Train all epochs that are left."""
        self.split.train()
        (party,) = self.parties
        (optimizer,) = party.optimizers
        while self.epochs_done < self.settings.epochs:
            set_rate(party.optimizers, self.settings, self.epochs_done)
            for batch in party.batches():
                where = f"at step {self.steps_done} (epoch {self.epochs_done})"
                whole_step(self.split, self.task, optimizer, batch, where)
                self.steps_done += 1
            self.epochs_done += 1
            if after_epoch:
                after_epoch()
        self.split.eval()
