"""Where each attribute of a view comes from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from splitleak.contract import BadInput, Grant, Shadow, Step, Update, View
from splitleak.contract.split import SmashedOnly
from splitleak.contract.view import Facts, Guesser
from splitleak.plan.seeds import Stream
from splitleak.process_settings import Values, under
from splitleak.score import channel
from splitleak.score.null import emptied
from splitleak.score.scene import Scene
from splitleak.score.shadows import shadow_sources
from splitleak.score.targets import unique
from splitleak.score.unobserved import hidden
from splitleak.train.fit import federation_of
from splitleak.train.victim import Victim, fresh


class Running(Protocol):
    """What the sources need of an attempt."""

    scene: Scene
    victim: Victim
    null: bool
    observes: bool
    stream: Stream
    settings: Values
    running: Iterator[Step] | None
    view: View

    @property
    def released(self) -> dict[str, Tensor]: ...

    def settle(self) -> None: ...

    def log(self, step: int, guesser: Guesser) -> None: ...


def view_of(attempt: Running) -> View:
    """The view of an attempt: what the scene grants, and nothing else."""
    scene = attempt.scene
    grants = scene.grants if attempt.observes else scene.grants & ~Grant.STEPS
    return View(facts(attempt), grants, Sources(attempt).by_name())


def facts(attempt: Running) -> Facts:
    """What every attacker knows."""
    scene, data, traffic = attempt.scene, attempt.scene.data, attempt.scene.cell.traffic
    cut, out = attempt.victim.split.shapes(data.in_shape)
    return Facts(
        data.in_shape, data.in_range, cut if traffic.cut else (), out if traffic.head else None, copy.copy(data.task),
        scene.cell.train.batch_size, len(scene.sent), scene.group,
    )  # fmt: skip


class Sources:
    """The functions behind the attributes of a view; none is called before the attack reads the attribute."""

    def __init__(self, attempt: Running) -> None:
        self.attempt, self.scene, self.victim = attempt, attempt.scene, attempt.victim
        self.device = attempt.scene.data.private.x.device

    def by_name(self) -> dict[str, Callable[[], Any]]:
        """Each attribute with its source; attributes that do not exist under the protocol or task are left out."""
        scene, traffic = self.scene, self.scene.cell.traffic
        messages = traffic.messages or ("smashed", "gradient", "labels")  # granted to nobody if nothing is cut
        found: dict[str, Callable[[], Any]] = {name: partial(self._released, name) for name in messages}
        found |= {
            "inputs": lambda: scene.sent.x,
            "hints": lambda: (scene.own.to(self.device)[scene.hints], scene.targets.y[scene.hints]),
            "top": lambda: self._part("top"),
            "bottom": lambda: SmashedOnly(self._part("bottom")),
            "fresh_bottom": self._fresh_bottom,
            "fresh_model": self._fresh_model,
            "query": lambda: hidden(self._query),
            "aux": lambda: scene.aux.x,
            "aux_labels": lambda: scene.aux.y,
            "pairs": self._pairs,
            "defense": lambda: copy.deepcopy(scene.case.defense),
            "shadows": self._shadows,
            "log": lambda: self.attempt.log,
        }
        if traffic.updates:
            found["updates"] = self._updates
        if self.attempt.observes:
            found["steps"] = self._steps
        if scene.aux.property is not None:
            found["aux_property"] = lambda: scene.aux.property
        if (persons := scene.aux.group) is not None:
            found["aux_persons"] = lambda: persons.unique(return_inverse=True)[1]
        return self._calm(found)

    def _calm(self, sources: dict[str, Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
        """The same sources, unobserved."""
        return {name: hidden(partial(self._calmly, source)) for name, source in sources.items()}

    def _calmly(self, source: Callable[[], Any]) -> Any:
        """What the source answers under the settings of the harness: the attack may have set others."""
        with under(self.attempt.settings):
            return source()

    def _steps(self) -> Iterator[Step]:
        """Empty once anything after training was read; a chain, because a generator shows its variables."""
        return chain(self.attempt.running or ())

    def _released(self, name: str) -> Tensor:
        return self.attempt.released[name]

    def _part(self, name: str) -> nn.Module:
        self.attempt.settle()
        return cast(nn.Module, copy.deepcopy(getattr(self.victim.split, name)))

    def _fresh_bottom(self) -> nn.Module:
        """Initialised from the attacker's own randomness: the victim's seed would reveal its first weights."""
        case, data = self.scene.case, self.scene.data
        split = case.model.untrained(data.in_shape, data.task, case.cut, case.cell.protocol)
        bottom = case.defense.shape(split).bottom.to(self.device)
        if not case.cell.train.epochs and _gives_away(bottom, self.victim.split.bottom):
            problem = "its weights were learned, and `untrained` returns them: an attacker would hold them"
            raise BadInput(f"model '{case.model}': {problem}; override it, or use the model 'own_network'")
        return SmashedOnly(bottom)

    def _fresh_model(self) -> nn.Module:
        """The same for a network in one piece."""
        case, data = self.scene.case, self.scene.data
        cut = case.model.cuts(case.model.usual_protocol())[0]
        return case.model.untrained(data.in_shape, data.task, cut, case.cell.protocol).to(self.device)

    def _updates(self) -> list[Update]:
        """The updates, by training again. The weights must come out bit-identical, or the record would be wrong."""
        scene, again = self.scene, fresh(self.scene.case, self.scene.data)
        group = cast(Tensor, scene.group)
        wanted = {sender: torch.nonzero(group == k).flatten() for k, sender in enumerate(scene.senders)}
        running = federation_of(again)
        with Stream(scene.case.seeds.of("training")), torch.enable_grad():
            running.run(lambda: None, wanted)
        if again.fingerprint() != scene.kept.facts.fingerprint:
            raise RuntimeError("the federation did not repeat itself: its victim differs from the one that is kept")
        return [emptied(update) for update in running.updates] if self.attempt.null else running.updates

    def _query(self, x: Tensor) -> Tensor:
        with under(self.attempt.settings):
            self.attempt.settle()
        with self.attempt.stream, under(self.attempt.settings):
            return channel.send(self.victim, x.to(self.scene.aux.x.device), self.scene.aux.x)

    def _shadows(self) -> list[Shadow]:
        read = self.attempt.view._been_read
        return [Shadow(self._calm(shadow_sources(self.scene, i)), read) for i in range(len(self.scene.shadows))]

    def _pairs(self) -> tuple[Tensor, Tensor]:
        private = unique(self.scene.data.private)
        others = private.take((~torch.isin(private.id, self.scene.targets.id)).nonzero().flatten())
        others = others.take(_unlike(others.x, self.scene.targets.x))
        self.attempt.settle()
        with self.attempt.stream:
            return others.x, channel.send(self.victim, others.x, self.scene.aux.x)


def _gives_away(fresh: nn.Module, trained: nn.Module) -> bool:
    """Whether a matrix or kernel of a network that should be fresh is the trained one; biases may well be equal."""
    known = trained.state_dict()
    return any(t.ndim > 1 and name in known and torch.equal(t, known[name]) for name, t in fresh.state_dict().items())


def _unlike(x: Tensor, targets: Tensor) -> Tensor:
    """Positions of the records that are no target under another identity."""
    known = {record.tobytes() for record in (targets + 0.0).cpu().numpy()}  # + 0.0: minus zero is zero
    kept = [i for i, record in enumerate((x + 0.0).cpu().numpy()) if record.tobytes() not in known]
    return torch.tensor(kept, dtype=torch.long, device=x.device)
