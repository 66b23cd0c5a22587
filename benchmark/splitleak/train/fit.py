"""Train a victim to the end while nobody attacks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from splitleak.contract import Diverged, Grant
from splitleak.plan.seeds import Stream
from splitleak.train import collapse
from splitleak.train.checkpoint import Checkpoint
from splitleak.train.facts import Learned
from splitleak.train.loop import Training
from splitleak.train.party import Party, relabelled
from splitleak.train.victim import Victim
from splitleak.train.whole import WholeTraining

if TYPE_CHECKING:
    from splitleak.train.federation import Federation

Measure = Callable[[Victim], float]  # the utility of a victim at this moment
Tell = Callable[[str], None]  # hears how far a job is: "epoch 3/20"


@dataclass
class Fit:
    """One training of one victim: what is measured after an epoch, and where a killed training is kept."""

    victim: Victim
    measure: Measure | None = None
    checkpoint: Checkpoint | None = None
    tell: Tell | None = None
    curve: list[float] = field(default_factory=list)
    parties: list[Party] = field(default_factory=list)

    def run(self) -> Learned:
        """Train to the end; raises Diverged if the loss or a weight is no finite number."""
        start = time.perf_counter()
        traffic = self.victim.recipe.traffic
        federation = federation_of(self.victim) if traffic.updates else None  # its first import draws random numbers
        with Stream(self.victim.recipe.seeds.of("training")):
            if federation is not None:
                learned = self._federated(federation)
            elif traffic.cut:
                learned = self._split()
            else:
                learned = self._whole()
        if not all(bool(t.isfinite().all()) for t in self.victim.tensors().values()):
            raise Diverged(f"the weights are no numbers any more after the last step ({learned.steps})")
        learned.utility_curve = self.curve or None
        earlier = self.checkpoint.spent if self.checkpoint else 0.0  # seconds of earlier runs
        learned.seconds_train = earlier + time.perf_counter() - start
        return learned

    def _split(self) -> Learned:
        running = training_of(self.victim)
        self.parties = running.parties
        self._resume(running)
        for _ in running.steps(Grant(0), set(), after_epoch=self._after_epoch(running)):
            pass
        constant = self._constant_loss()
        return Learned(
            running.steps_done, detected_at=running.detected_at, loss_curve=running.losses, loss_constant=constant,
            collapsed_at=collapse.collapsed_at(running.losses, constant),
        )  # fmt: skip

    def _whole(self) -> Learned:
        victim = self.victim
        running = WholeTraining(
            victim.split, victim.data.private, victim.data.task, victim.recipe.train, victim.recipe.seeds.order
        )
        self._resume(running)
        running.run(self._after_epoch(running))
        return Learned(running.steps_done)

    def _federated(self, federation: Federation) -> Learned:
        federation.run(partial(self._after_round, federation))
        self.parties = [*federation.parties]
        return Learned(federation.steps_done, sent=federation.sent)

    def _after_round(self, federation: Federation) -> None:
        self._note()
        if self.tell:
            self.tell(f"round {federation.rounds_done}/{federation.settings.rounds}")

    def _resume(self, running: Training | WholeTraining) -> None:
        if self.checkpoint:
            self.checkpoint.restore(running, self.curve)

    def _after_epoch(self, running: Training | WholeTraining) -> Callable[[], None] | None:
        """What happens after each epoch; None if nothing does, since it would gather the clients' weights."""
        wanted = [self._note] if self.victim.recipe.train.curve else []
        if self.checkpoint:
            wanted.append(partial(self.checkpoint.save_if_due, running, self.curve))
        if self.tell:
            wanted.append(partial(self._tell_epoch, self.tell, running))
        if not wanted:
            return None

        def act() -> None:
            for action in wanted:
                action()

        return act

    def _tell_epoch(self, tell: Tell, running: Training | WholeTraining) -> None:
        tell(f"epoch {running.epochs_done}/{running.settings.epochs}")

    def _note(self) -> None:
        """Add the present utility to the curve; the training goes on as if nothing had been measured."""
        if self.measure is None:
            return
        modes = {network: network.training for network in self.victim.networks().values()}
        for network in modes:
            network.eval()
        self.curve.append(self.measure(self.victim))
        for network, mode in modes.items():
            network.train(mode)

    def _constant_loss(self) -> float:
        """The loss of the best constant answer on the labels that the client sent."""
        private = relabelled(self.victim.data.private, self.victim.live)
        return collapse.constant_loss(self.victim.live.batch(private.x, private.y)[1], self.victim.data.task)


def training_of(victim: Victim) -> Training:
    """The split training of a victim, not begun."""
    recipe, data = victim.recipe, victim.data
    return Training(
        victim.split, data.private, data.task, victim.live, recipe.train, recipe.clients, recipe.seeds.order
    )


def federation_of(victim: Victim) -> Federation:
    """The federated training of a victim, not begun."""
    from splitleak.train.federation import Federation  # needs Flower, an optional extra

    return Federation(victim)
