"""One run of an attack on one channel, real or null."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from splitleak.contract import Grant, Step
from splitleak.contract.view import Guesser
from splitleak.plan.seeds import Stream, seed_for
from splitleak.process_settings import numbers, unchanged, under
from splitleak.score import channel
from splitleak.score.null import NullChannel
from splitleak.score.scene import Scene
from splitleak.score.sources import view_of
from splitleak.train.fit import Tell, training_of
from splitleak.train.loop import Training
from splitleak.train.victim import fresh


@dataclass
class Attempt:
    """A victim, the view of it, and what the attack makes of it."""

    scene: Scene
    null: bool = False
    tell: Tell | None = None
    curve: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        scene, case, data = self.scene, self.scene.case, self.scene.data
        self.observes = Grant.STEPS in scene.attack.needs and Grant.STEPS in scene.grants
        self.victim = fresh(case, data)
        if not self.observes:
            self.victim.load(scene.kept.tensors)
        if self.null and self.victim.cut:
            with Stream(case.seeds.of("null channel")):  # measuring the scale may draw noise of the defence
                self.victim.live = NullChannel(self.victim.live, self.victim.split, data.aux.x[:256])
        self.stream = Stream(case.seeds.of("training"))
        self.own = Stream(seed_for("attack", case.cell.dataset, case.cell.model, case.cell.seed, case.cell.attack))
        self.settings = numbers() | {"grad": True}  # of the harness; an attack may set others
        self.training: Training | None = None
        self._released: dict[str, Tensor] | None = None
        self.running: Iterator[Step] | None = None
        self.view = view_of(self)
        if self.observes:
            self.training = training_of(self.victim)
            self.running = self._isolated(
                self.training.steps(self._step_grants(), self.view._been_read, case.cell.tampers)
            )

    def run(self) -> tuple[Tensor, float]:
        """The checked guess, and the seconds that it took, a victim trained on the way included."""
        start = time.perf_counter()
        with self.own, unchanged():
            guess = self.scene.attack.run(self.view)
        seconds = time.perf_counter() - start
        self.settle()
        return self.scene.question.check(guess, f"attack '{self.scene.attack}'"), seconds

    def settle(self) -> None:
        """End the training: honestly if the attack only observed it, at once if the attack tampers."""
        if self.running is None:
            return
        running, self.running = self.running, None
        if self.scene.cell.tampers:
            cast(Any, running).close()
            return
        for _ in running:
            pass
        if not self.null and self.victim.fingerprint() != self.scene.kept.facts.fingerprint:
            raise RuntimeError("the victim differs from the one trained without an observer: the attack disturbed it")

    def _isolated(self, steps: Iterator[Step]) -> Iterator[Step]:
        """The steps of the victim in its own random stream and settings, whatever the attacker does in between."""
        try:
            while True:
                with self.stream, under(self.settings):
                    step = next(steps, None)
                if step is None:
                    return
                yield step
        finally:
            with self.stream, under(self.settings):
                cast(Any, steps).close()

    def _step_grants(self) -> Grant:
        return self.scene.grants if self.scene.cell.tampers else self.scene.grants & ~Grant.TAMPER

    @property
    def released(self) -> dict[str, Tensor]:
        """What crosses the wire for the targets after training, by name."""
        if self._released is None:
            self.settle()
            with under(self.settings):
                stream = Stream(self.scene.case.seeds.of("release"))
                self._released = channel.release(self.victim, self.scene.targets, stream)
        return self._released

    def log(self, step: int, guesser: Guesser) -> None:
        """Score the guesser on the present smashed data of the targets; the attack learns nothing of it."""
        if self.tell:
            self.tell(f"step {step}")
        if self.training is not None:
            self.training.gather()
        was_training = self.victim.split.training
        for network in self.victim.networks().values():
            network.eval()
        with Stream(seed_for("log", self.scene.cell.seed, step)):
            z = channel.send(self.victim, self.scene.targets.x, self.scene.targets.x)
            with torch.no_grad():
                guess = self.scene.question.check(guesser(z), f"attack '{self.scene.attack}' (log)")
        for network in self.victim.networks().values():
            network.train(was_training)
        per = self.scene.question.per_target(guess)
        self.curve.append({"step": step, "error": float(per.guess.mean()), "advantage": per.advantage()})
