"""The cells of one block of axes: every victim, the attacks on it, and the reason where a cell is skipped."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast, get_args

from splitleak.contract import Attack, Defense, Goal, Grant, Model, Protocol, threats
from splitleak.contract.errors import BadInput
from splitleak.contract.protocols import TRAFFIC
from splitleak.plan import suites
from splitleak.plan.axes import Axes
from splitleak.plan.cell import Cell
from splitleak.plan.points import Made, Point, aux_grants, made, values
from splitleak.plan.settings import Federated


@dataclass(frozen=True)
class Block:
    """One block of axes, its plug-ins made. `blank` has the sections `[train]` and `[evaluate]`."""

    blank: Cell
    points: dict[str, list[Any]]  # the fields of Point
    attacks: list[Made]
    suites: list[suites.Part]  # in place of attacks
    blinds: list[str | None]  # goals of the attack `blind`; None: every goal that the other attacks have
    threats: list[str | None]  # None: the weakest that an attack can run under

    def cells(self) -> Iterator[Cell]:
        """Every cell, those of a victim together; the control `blind` comes before the attacks that it belongs to."""
        first = self.points["seed"][0]
        for chosen in itertools.product(*self.points.values()):
            point = Point(*chosen)
            victim = replace(_victim(self.blank, point), null=self.blank.evaluate.null and point.seed == first)
            pairs = self._pairs(victim.protocol, point.aux.grants)
            attacked = [
                replace(_attacked(victim, attack, threat, point), optional=optional)
                for attack, threat, optional in pairs
            ]
            yield from map(_with_control, self._controls(victim, attacked))
            yield from map(_with_control, attacked)

    def left_out(self, cells: Sequence[Cell]) -> Iterator[str]:
        """What suites cannot run under the protocols and with the auxiliary records of these cells, and why."""
        for protocol, aux in dict.fromkeys((cell.protocol, aux_grants(cell.aux)) for cell in cells):
            for part in self.suites:
                yield from part.left_out(protocol, aux, self.threats)

    def _pairs(self, protocol: str, aux: Grant) -> Iterator[tuple[Made, str | None, bool]]:
        """Each attack with the threats that it runs under, and whether it is of a suite whose goals nobody named."""
        yield from itertools.product(self.attacks, self.threats, [False])
        for part in self.suites:
            yield from ((one.attack, one.threat, not part.named) for one in part.attacks(protocol, aux, self.threats))

    def _controls(self, victim: Cell, attacked: list[Cell]) -> Iterator[Cell]:
        """`blind` for each pair of threat and goal that occurs."""
        seen = {(cell.threat, cell.goal): cell.optional for cell in attacked if not cell.skip}
        seen = seen or {("eavesdropper", Goal.INPUTS.value): False}
        for own in self.blinds:
            usual = [(next(iter(seen))[0], own or Goal.INPUTS.value)]
            for threat, goal in [(t, g) for t, g in seen if own in (None, g)] or usual:
                attack, optional = {"name": "blind", "goal": goal}, seen.get((threat, goal), False)
                yield replace(victim, attack=attack, goal=goal, threat=threat, optional=optional)


def block(axes: Axes, blank: Cell, base: Path) -> Block:
    """Make and check the plug-ins of every axis; files of plug-ins are named from `base`."""
    points = values(axes, cast(Federated, blank.federated), base)
    if parts := suites.on_axis(axes["attack"]):
        return Block(replace(blank, federated=None), points, [], parts, [None], axes["threat"])
    attacks = [made("attack", given, base) for given in axes["attack"]]
    blinds = [given.get("goal") for given in axes["attack"] if given["name"] == "blind"]
    others = [attack for attack in attacks if attack.spec["name"] != "blind"]
    return Block(replace(blank, federated=None), points, others, [], blinds, axes["threat"])


def _victim(blank: Cell, point: Point) -> Cell:
    """A cell with all but the attack, its cut checked; `skip` says where the defence would do nothing."""
    model, (named, federated), clients = cast(Model, point.model.plugin), point.protocol, point.clients
    protocol: Protocol = named or model.usual_protocol()
    if TRAFFIC[protocol].one_way and blank.train.epochs:
        raise BadInput(f"protocol '{protocol}' trains nothing: write epochs = 0 into [train]")
    if clients.n == 1:
        clients = replace(clients, skew=None)  # one client holds every record: the same cell
    train = blank.train
    if federated is not None:
        clients = replace(clients, mode="parallel" if clients.n > 1 else "sequential")
        train = replace(train, epochs=1)  # the length of the training is in rounds
    return replace(
        blank,
        train=train,
        dataset=point.dataset.spec,
        model=point.model.spec,
        defense=point.defense.spec,
        cut=_cut(model, protocol, point.cut),
        protocol=protocol,
        federated=federated,
        clients=clients,
        aux=point.aux.spec,
        seed=point.seed,
        skip=_idle(cast(Defense, point.defense.plugin), protocol),
    )


def _cut(model: Model, protocol: Protocol, wanted: int | None) -> int | None:
    """The wanted cut or the model's own, None where the protocol has none; BadInput where it is not legal."""
    if not TRAFFIC[protocol].cut:
        return None
    cuts = model.cuts(protocol)
    if not cuts:
        legal = ", ".join(p for p in get_args(Protocol) if not TRAFFIC[p].cut or model.cuts(p))
        raise BadInput(f"model '{model}' cannot be cut under protocol '{protocol}' (legal protocols: {legal})")
    if wanted is None:
        return cuts[0]
    if wanted not in cuts:
        legal = ", ".join(map(str, sorted(cuts)))
        raise BadInput(f"model '{model}' cannot be cut at {wanted} under protocol '{protocol}' (legal cuts: {legal})")
    return wanted


def _idle(defense: Defense, protocol: Protocol) -> str | None:
    """Why a defence is skipped: where it does nothing, its row would show a protection that does not exist."""
    if protocol in defense.protocols:
        return None
    return f"defense '{defense}' does nothing under protocol '{protocol}' ({', '.join(defense.protocols)})"


def _with_control(cell: Cell) -> Cell:
    """The cell; without a control population where there can be none, so that the setting changes no key there."""
    possible = cell.goal == Goal.INPUTS.value and cell.traffic.cut and cell.evaluate.targets_from == "train"
    return cell if possible else replace(cell, evaluate=replace(cell.evaluate, control=False))


def _attacked(victim: Cell, of: Made, threat: str | None, point: Point) -> Cell:
    attack = cast(Attack, of.plugin)
    threat, why = _threat(victim.protocol, attack.goal, attack.needs, point.aux.grants, threat)
    why = _untrained(victim, attack.needs) or why or _withheld(cast(Model, point.model.plugin), attack.needs)
    return replace(
        victim,
        attack=of.spec,
        goal=attack.goal.value,
        threat=threat,
        skip=victim.skip or why,
        tampers=Grant.TAMPER in attack.needs,
        shadows=attack.shadows if Grant.SHADOWS in attack.needs else 0,
    )


def _untrained(victim: Cell, needs: Grant) -> str | None:
    """Why an attack cannot run on weights that stay as they are."""
    training = needs & (Grant.TAMPER | Grant.SHADOWS)
    if victim.train.epochs or not training:
        return None
    return f"[train] epochs = 0: nothing is trained, and {training.name} needs a training"


def _withheld(model: Model, needs: Grant) -> str | None:
    """Why an attack cannot run on a network of which not all parts are known."""
    missing = needs & model.withheld
    if not missing:
        return None
    return f"of model '{model}' {missing.name} is not known, and the attack needs it"


@lru_cache
def _threat(protocol: str, goal: Goal, needs: Grant, aux: Grant, wanted: str | None) -> tuple[str, str | None]:
    """The threat that an attack runs under, and the reason where it may not."""
    threat = wanted or threats.first_legal(protocol, goal, needs, aux) or "oracle"
    return threat, threats.objection(threat, protocol, goal, needs, aux)
