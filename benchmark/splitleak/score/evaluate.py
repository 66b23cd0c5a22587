"""One cell: who is asked what, the attack's one run and its null twin's, and the record that is left behind."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from statistics import mean
from typing import Any, cast

import torch
from torch import Tensor, nn

from splitleak.contract import Goal, Grant, Model
from splitleak.contract.split import SmashedOnly
from splitleak.contract.view import Facts, Guesser, Step, Update, View
from splitleak.plan import plugins
from splitleak.plan.seeds import Stream, axis_seed, seed_for
from splitleak.score import channel, utility
from splitleak.score.channel import NullChannel
from splitleak.score.scene import Scene, unique
from splitleak.train import victim
from splitleak.train.loop import Training


@dataclass
class Attempt:
    """One run of an attack on one channel: a victim, the view of it, and what came of it."""

    scene: Scene
    null: bool = False
    curve: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        cell, data = self.scene.cell, self.scene.data
        self.on_line = Grant.STEPS in self.scene.attack.needs and Grant.STEPS in self.scene.grants
        self.victim = victim.fresh(cell, data, self.scene.base)
        if not self.on_line:
            self.victim.load(self.scene.kept[0])
        if self.null and not self.victim.whole:
            with Stream(axis_seed("null channel", cell)):  # the defence draws noise to be measured
                self.victim.live = NullChannel(self.victim.live, self.victim.split, data.aux.x[:256])
        self.stream = Stream(axis_seed("training", cell))
        self.own = Stream(seed_for("attack", cell.dataset, cell.model, cell.seed, cell.attack))
        self.training: Training | None = None
        self.running: Iterator[Step] | None = None
        self.view = self._view()
        if self.on_line:
            self.training = victim.training(self.victim)
            self.running = self._isolated(self.training.steps(self._step_grants(), self.view._been_read, cell.tampers))

    def run(self) -> tuple[Tensor, float]:
        """The checked guess, and the seconds that it took (a victim trained on the way included)."""
        start = time.perf_counter()
        with self.own:
            guess = self.scene.attack.run(self.view)
        seconds = time.perf_counter() - start
        self.settle()
        return self.scene.question.check(guess, f"attack '{self.scene.attack}'"), seconds

    def settle(self) -> None:
        """Bring training to its end: honestly, if the attack only looked on; at once, if it tampers."""
        if self.running is None:
            return
        running, self.running = self.running, None
        if self.scene.cell.tampers:
            cast(Any, running).close()
        else:
            for _ in running:
                pass
            expected = self.scene.kept[1]["fingerprint"]
            if not self.null and self.victim.fingerprint() != expected:
                raise RuntimeError(
                    "the victim differs from the one trained without an onlooker: the attack disturbed it"
                )

    def _isolated(self, steps: Iterator[Step]) -> Iterator[Step]:
        """The victim's steps in the victim's random stream, whatever the attacker draws in between."""
        try:
            while True:
                with self.stream, torch.enable_grad():  # an attack may look from inside its own no_grad
                    step = next(steps, None)
                if step is None:
                    return
                yield step
        finally:
            with self.stream:
                cast(Any, steps).close()

    def _step_grants(self) -> Grant:
        return self.scene.grants if self.scene.cell.tampers else self.scene.grants & ~Grant.TAMPER

    @cached_property
    def released(self) -> dict[str, Tensor]:
        self.settle()
        with torch.enable_grad():
            return channel.release(self.victim, self.scene.targets, Stream(axis_seed("release", self.scene.cell)))

    def _sent(self, name: str) -> Tensor:
        return self.released[name]

    def _view(self) -> View:
        scene, data, cell = self.scene, self.scene.data, self.scene.cell
        in_cut, out = self.victim.split.shapes(data.in_shape)
        cut = () if self.victim.whole else in_cut
        facts = Facts(
            data.in_shape, data.in_range, cut, out if cell.protocol == "u_shape" else None, data.task,
            cell.train.batch_size, len(scene.targets),
        )  # fmt: skip
        names = ["smashed", "gradient"]
        names += ["features", "gradient_features"] if cell.protocol == "u_shape" else ["labels"]
        sources: dict[str, Callable[[], Any]] = {name: partial(self._sent, name) for name in names}
        sources |= {
            "inputs": lambda: scene.targets.x,
            "hints": lambda: (scene.hints, scene.targets.y[scene.hints]),
            "top": lambda: self._part("top"),
            "bottom": lambda: SmashedOnly(self._part("bottom")),
            "fresh_bottom": self._fresh_bottom,
            "fresh_model": self._fresh_model,
            "query": lambda: self._query,
            "aux": lambda: scene.aux.x,
            "aux_labels": lambda: scene.aux.y,
            "pairs": self._pairs,
            "defense": lambda: plugins.make("defense", cell.defense, scene.base),
            "log": lambda: self._log,
        }
        if cell.protocol == "fedavg":
            sources["updates"] = self._updates
        if self.on_line:
            sources["steps"] = lambda: self.running or iter(())  # over, once anything after training was read
        if scene.aux.property is not None:
            sources["aux_property"] = lambda: scene.aux.property
        return View(facts, scene.grants if self.on_line else scene.grants & ~Grant.STEPS, sources)

    def _part(self, name: str) -> nn.Module:
        self.settle()
        return cast(nn.Module, copy.deepcopy(getattr(self.victim.split, name)))

    def _fresh_bottom(self) -> nn.Module:
        """Initialised from the attacker's own randomness: the victim's seed would hand over its first weights."""
        cell, data = self.scene.cell, self.scene.data
        model = cast(Model, plugins.make("model", cell.model, self.scene.base))
        split = model.split(data.in_shape, data.task, cast(int, cell.cut), cell.protocol)
        return SmashedOnly(self.victim.defense.shape(split).bottom.to(data.private.x.device))

    def _fresh_model(self) -> nn.Module:
        """As `_fresh_bottom`, of a network in one piece."""
        cell, data = self.scene.cell, self.scene.data
        model = cast(Model, plugins.make("model", cell.model, self.scene.base))
        cut = model.cuts("u_shape" if model.u_shaped else "vanilla")[0]
        return model.split(data.in_shape, data.task, cut, cell.protocol).to(data.private.x.device)

    def _updates(self) -> list[Update]:
        """What was sent, by doing it all again: to the last bit the same, or the record would be of another victim."""
        scene, again = self.scene, victim.fresh(self.scene.cell, self.scene.data, self.scene.base)
        group = cast(Tensor, scene.group)
        wanted = {sender: torch.nonzero(group == k).flatten() for k, sender in enumerate(scene.senders)}
        running = victim.federation(again)
        with Stream(axis_seed("training", scene.cell)), torch.enable_grad():
            running.run(lambda: None, wanted)
        if again.fingerprint() != scene.kept[1]["fingerprint"]:
            raise RuntimeError("the federation did not repeat itself: its victim differs from the one that is kept")
        return [channel.emptied(update) for update in running.updates] if self.null else running.updates

    def _query(self, x: Tensor) -> Tensor:
        self.settle()
        with self.stream:
            return channel.send(self.victim, x.to(self.scene.aux.x.device), self.scene.aux.x)

    def _pairs(self) -> tuple[Tensor, Tensor]:
        private = unique(self.scene.data.private)
        others = private.take((~torch.isin(private.id, self.scene.targets.id)).nonzero().flatten())
        self.settle()
        with self.stream:
            return others.x, channel.send(self.victim, others.x, self.scene.aux.x)

    def _log(self, step: int, guesser: Guesser) -> None:
        """Score the guesser on what the targets look like at this moment; nothing of it reaches the attack."""
        if self.training is not None:
            self.training.gather()
        was = self.victim.split.training
        for network in self.victim.networks().values():
            network.eval()
        with Stream(seed_for("log", self.scene.cell.seed, step)):
            z = channel.send(self.victim, self.scene.targets.x, self.scene.targets.x)
            with torch.no_grad():
                guess = self.scene.question.check(guesser(z), f"attack '{self.scene.attack}' (log)")
        for network in self.victim.networks().values():
            network.train(was)
        per = self.scene.question.per_target(guess)
        self.curve.append({"step": step, "error": float(per.mine.mean()), "advantage": per.advantage()})


def evaluate(scene: Scene) -> dict[str, Any]:
    """Attack, null twin, scores: what the record says beyond the cell and the victim's own facts."""
    question, cell = scene.question, scene.cell
    attempt = Attempt(scene)
    guess, seconds = attempt.run()
    found: dict[str, Any] = {
        "metrics": question.score(guess),
        "bootstrap_ci95": question.ci95(guess, axis_seed("bootstrap", cell)),
        "floor": question.floor.kind if scene.goal is Goal.INPUTS else "blind",
        "n_targets": len(question.counted),
        "seconds_attack": seconds,
        "read": attempt.view.has_read,
        "curve": attempt.curve,
        "flags": scene.flags,
        "guess": guess,
    }
    if scene.goal is Goal.MEMBERSHIP:
        found["test_in_train"] = scene.test_in_train
    if cell.tampers and attempt.training is not None:
        found["utility_attacked"] = utility.on_test(attempt.victim)[1]
        found["steps_attacked"] = attempt.training.steps_done
        found["detected_at"] = attempt.training.detected_at
    if cell.null:
        twin = Attempt(scene, null=True)
        blank, _ = twin.run()
        scores = question.score(blank)
        leaks, p = question.null_leaks(blank, scores["advantage"], axis_seed("null", cell))
        found["null"] = {"metrics": scores, "leaks": leaks, "p": p}
    if cell.evaluate.draws > 1 and scene.goal is Goal.LABELS and "hints" in found["read"]:
        found |= drawn(scene, found["metrics"])
    return found


def drawn(scene: Scene, first: dict[str, float]) -> dict[str, Any]:
    """The same attack with other draws of the hints: means over all of them, and each one's score."""
    scores = [first]
    for draw in range(1, scene.cell.evaluate.draws):
        other = replace(scene, draw=draw)
        scores.append(other.question.score(Attempt(other).run()[0]))
    each = {name: [score[name] for score in scores] for name in first}
    told = {name: each[name] for name in ("advantage", "label_accuracy") if name in each}
    means = {name: mean(values) for name, values in each.items()}
    return {"metrics": means, "draws": {"n": len(scores), **told, "min": min(each["advantage"])}}
