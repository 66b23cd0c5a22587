"""One run of an attack on one channel, real or null."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from inspect import GEN_CLOSED, getgeneratorstate
from typing import Any, cast

import torch
from torch import Tensor

from splitleak import apart
from splitleak.contract import Grant, Step
from splitleak.contract.view import Guesser
from splitleak.plan.seeds import Stream, seed_for
from splitleak.postponed import Postponed
from splitleak.process_settings import numbers, unchanged, under
from splitleak.records import CurvePoint
from splitleak.score import channel
from splitleak.score.curve import Curve
from splitleak.score.null import NullChannel
from splitleak.score.scene import Scene
from splitleak.score.sources import view_of
from splitleak.score.unobserved import leaving_nothing, unobserved
from splitleak.train.fit import Tell, training_of
from splitleak.train.loop import Training
from splitleak.train.victim import fresh


@dataclass
class Attempt:
    """A victim, the view of it, and what the attack makes of it."""

    scene: Scene
    null: bool = False
    tell: Tell | None = None
    curve: list[CurvePoint] = field(default_factory=list)

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
        self.logs = Curve(f"attack '{scene.attack}' (log)")
        self._logged = -1  # the last step that was logged
        self.view = view_of(self)
        if self.observes:
            self.training = training_of(self.victim)
            self.running = self._isolated(
                self.training.steps(self._step_grants(), self.view._been_read, case.cell.tampers)
            )

    def run(self) -> tuple[Tensor, float]:
        """The checked guess for all that was sent, and the seconds that it took, training a victim included."""
        start = time.perf_counter()
        try:
            with self.own, unchanged(), leaving_nothing():
                guess = self.scene.attack.run(self.view)
            seconds = time.perf_counter() - start
            self.settle()
            checked = self.scene.asked.check(guess, f"attack '{self.scene.attack}'")
            self.curve = self.logs.points()
        finally:
            self.logs.close()
        return checked, seconds

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
                with self.stream, unobserved(), under(self.settings):
                    step = next(steps, None)
                if step is None:
                    return
                yield step
        finally:
            with self.stream, unobserved(), under(self.settings):
                cast(Any, steps).close()

    def _step_grants(self) -> Grant:
        return self.scene.grants if self.scene.cell.tampers else self.scene.grants & ~Grant.TAMPER

    @property
    def released(self) -> dict[str, Tensor]:
        """What crosses the wire after training for the records that are sent, by name."""
        if self._released is None:
            self.settle()
            with unobserved(), under(self.settings):
                stream = Stream(self.scene.case.seeds.of("release"))
                self._released = channel.release(self.victim, self.scene.sent, stream)
        return self._released

    def log(self, step: int, guesser: Guesser) -> None:
        """Let the curve have a point for the guesser; the attack learns nothing of it.

        After the training the guesser gets what the attack may read anyway. Before, it would get the targets' messages
        of this moment, with fresh noise each time: so it runs when the attack is over, on a copy of this moment.
        """
        if self.training is None or self._trained:
            self.logs.offer(partial(self._released_point, step, guesser))
        elif self.training.steps_done > self._logged and apart.possible():
            self._logged = now = self.training.steps_done
            self.logs.offer(lambda: Postponed(partial(self._present_point, now, guesser)))
        if self.tell:
            self.tell(f"step {step}")

    @property
    def _trained(self) -> bool:
        """Whether no step is left."""
        return self.running is None or getgeneratorstate(cast(Any, self.running)) == GEN_CLOSED

    def _released_point(self, step: int, guesser: Guesser) -> CurvePoint:
        z = self.released["smashed"].clone()
        with self._log_stream(step), torch.no_grad():  # a guesser may draw, and nobody else notices
            guess = guesser(z)
        with unobserved():
            return self._point(step, guess)

    def _present_point(self, step: int, guesser: Guesser) -> CurvePoint:
        """The point for the victim as it is; only in a process that ends with it, since networks change their mode."""
        torch.set_num_threads(1)  # threads do not survive a fork
        cast(Training, self.training).gather()
        for network in self.victim.networks().values():
            network.eval()
        with self._log_stream(step), torch.no_grad():
            z = channel.send(self.victim, self.scene.sent.x, self.scene.sent.x)
            guess = guesser(z)
        return self._point(step, guess)

    def _log_stream(self, step: int) -> Stream:
        return Stream(seed_for("log", self.scene.cell.seed, step))

    def _point(self, step: int, guess: object) -> CurvePoint:
        per = self.scene.question.per_target(self.scene.asked.check(guess, self.logs.who)[self.scene.own])
        return {"step": step, "error": float(per.guess.mean()), "advantage": per.advantage()}
