"""Suites: for each goal and threat model the attacks that a worst case is made of.

A file `suites/standard_1.toml` is the suite `standard_1`; the name `standard` stands for the newest. A suite has no
parameters, so that worst cases of different tables can be compared. On the attack axis it stands for its attacks.
"""

from __future__ import annotations

import difflib
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, cast

from pydantic import ConfigDict, Field

from splitleak.contract import Attack, Goal, Grant, threats
from splitleak.contract.errors import BadInput, did_you_mean
from splitleak.contract.plugin import Spec
from splitleak.plan import plugins
from splitleak.plan.points import Made, made
from splitleak.printable import shown

NEWEST = "standard"


@dataclass(frozen=True)
class AboutSuite:
    """`[about]` of a suite's file."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    what: Annotated[str, Field(min_length=1)]  # one sentence
    released: bool  # its content never changes again


class Listed(NamedTuple):
    """An attack of a suite and the threat model that it runs under."""

    goal: Goal
    threat: str
    attack: Made

    @property
    def plugin(self) -> Attack:
        return cast(Attack, self.attack.plugin)

    def objection(self, protocol: str, aux: Grant) -> str | None:
        """Why it cannot run under a protocol with these auxiliary records, or None where it can."""
        return threats.objection(self.threat, protocol, self.goal, self.plugin.needs, aux)


@dataclass(frozen=True, eq=False)
class Suite:
    name: str
    about: AboutSuite
    attacks: tuple[Listed, ...]

    @property
    def goals(self) -> list[Goal]:
        """The goals that it has attacks for."""
        return list(dict.fromkeys(one.goal for one in self.attacks))

    def known(self, protocol: str) -> list[Listed]:
        """The attacks of the threat models that exist under a protocol."""
        return [one for one in self.attacks if protocol in threats.THREATS[one.threat].protocols]


@dataclass(frozen=True)
class Part:
    """A suite on the attack axis of a matrix, and the goals that are wanted of it."""

    suite: Suite
    goals: Sequence[Goal]
    named: bool = False  # by the matrix; else all goals that the suite has attacks for

    def _wanted(self, protocol: str, named: Sequence[str | None]) -> list[Listed]:
        """The attacks with these goals, of the threat models on the threat axis or, where that has None, of all."""
        known = self.suite.known(protocol)
        return [one for one in known if one.goal in self.goals and (None in named or one.threat in named)]

    def attacks(self, protocol: str, aux: Grant, named: Sequence[str | None]) -> list[Listed]:
        """The attacks that can run. named: the threat axis."""
        return [one for one in self._wanted(protocol, named) if one.objection(protocol, aux) is None]

    def left_out(self, protocol: str, aux: Grant, named: Sequence[str | None]) -> Iterator[str]:
        """A line for each reason why attacks cannot run, and one for what has no attack at all.

        Without a threat axis nothing is said of threat models that hold the goal anyway.
        """
        reasons: dict[str, list[str]] = defaultdict(list)
        for one in self._wanted(protocol, named):
            truth = threats.TRUTH.get(one.goal, Grant(0)) & threats.THREATS[one.threat].on(protocol)
            expected = bool(truth) and one.threat != "oracle" and None in named
            if (why := one.objection(protocol, aux)) and not expected:
                reasons[why].append(str(one.plugin))
        who = f"suite '{self.suite.name}'"
        for why, attacks in reasons.items():
            yield f"{who} without {', '.join(attacks)}: {why}"
        found = self.attacks(protocol, aux, named)
        without = [goal.value for goal in self.goals if goal not in {one.goal for one in found}]
        if without:
            yield f"{who} has no attack on {', '.join(without)} here (protocol '{protocol}'{_axis(named)})"


def _axis(named: Sequence[str | None]) -> str:
    return "" if None in named else f", threat {', '.join(map(str, named))}"


def names() -> list[str]:
    """The suites that come with the package, the oldest first."""
    found = [f.name.removesuffix(".toml") for f in resources.files("splitleak.suites").iterdir()]
    return sorted((name for name in found if name.startswith(f"{NEWEST}_")), key=lambda name: int(name.split("_")[1]))


def newest_first() -> list[Suite]:
    return [find(name) for name in reversed(names())]


def find(name: str) -> Suite:
    """A suite by its name, `standard` for the newest."""
    legal = [NEWEST, *names()]
    if name not in legal:
        raise BadInput(
            f"no suite {shown(name)}{did_you_mean(name, legal)} (suites: {', '.join(legal)}; {NEWEST}: the newest)"
        )
    return _shipped(names()[-1] if name == NEWEST else name)


@cache
def _shipped(name: str) -> Suite:
    text = (resources.files("splitleak.suites") / f"{name}.toml").read_text(encoding="utf-8")
    return checked(name, tomllib.loads(text))


def checked(name: str, raw: dict[str, Any]) -> Suite:
    """The suite that a file describes; BadInput for anything in it that could not run."""
    who, listed = f"suite {shown(name)}", list[Listed]()
    about = plugins.checked(AboutSuite, raw.get("about", {}), f"{who}: [about]")
    goals = [goal.value for goal in Goal]
    for section, attacks in raw.items():
        if section == "about":
            continue
        if section not in goals:
            raise BadInput(f"{who}: no goal {shown(section)}{did_you_mean(section, goals)} (goals: {', '.join(goals)})")
        if not isinstance(attacks, dict):
            raise BadInput(f"{who}: {shown(section)} must be a section, [{section}]")
        for threat, values in attacks.items():
            listed += _listed(Goal(section), threat, values, f"{who}: [{section}] {shown(threat)}")
    return Suite(name, about, tuple(listed))


def _listed(goal: Goal, threat: str, values: Any, who: str) -> Iterator[Listed]:
    """The attacks of one line, each legal under its threat model with some protocol."""
    if threat not in threats.THREATS:
        raise BadInput(f"{who}: no such threat{did_you_mean(threat, threats.THREATS)} ({', '.join(threats.THREATS)})")
    if not isinstance(values, list) or not values:
        raise BadInput(f"{who} must be a list of attacks that is not empty, not {shown(values)}")
    for value in values:
        table = {"name": value} if isinstance(value, str) else value
        if not isinstance(table, dict) or not isinstance(table.get("name"), str):
            raise BadInput(f"{who}: each is a name or a table with a name, not {shown(value)}")
        try:
            one = Listed(goal, threat, made("attack", table, Path()))
        except BadInput as error:
            raise BadInput(f"{who}: {error}") from None
        if one.plugin.goal is not goal:
            raise BadInput(f"{who}: attack '{one.plugin}' has the goal {one.plugin.goal.value}, not {goal.value}")
        whys = [one.objection(protocol, threats.DATA) for protocol in threats.THREATS[threat].protocols]
        if None not in whys:
            raise BadInput(f"{who}: attack '{one.plugin}' is not legal there: {whys[0]}")
        yield one


def on_axis(values: Sequence[Spec]) -> list[Part]:
    """The suites on an attack axis; BadInput where one stands beside attacks, or is asked for what it does not have."""
    attacks = plugins.names("attack")
    parts = [_part(value) for value in values if _names_suite(value["name"], attacks)]
    others = [value["name"] for value in values if not _names_suite(value["name"], attacks)]
    if parts and others:
        raise BadInput(
            f"axis 'attack': suite '{parts[0].suite.name}' stands alone, not beside {', '.join(map(shown, others))}: "
            "it brings its own attacks and 'blind'; other attacks go into a [[matrix]] of their own"
        )
    return parts


def size(value: Any) -> int:
    """How many attacks a value of the attack axis stands for, at most."""
    name = value.get("name") if isinstance(value, dict) else value
    return len(find(name).attacks) if name in (NEWEST, *names()) else 1


def _names_suite(name: str, attacks: Sequence[str]) -> bool:
    """The name of a suite, or one that is closer to a suite's name than to any attack's."""
    suites = [NEWEST, *names()]
    close = difflib.get_close_matches(name, [*suites, *attacks], n=1) if name.isidentifier() else []
    return name not in attacks and bool(close) and close[0] in suites


def _part(value: Spec) -> Part:
    suite = find(value["name"])
    who = f"suite {shown(value['name'])}"
    for key in value.keys() - {"name", "goal"}:
        raise BadInput(f"{who}: no parameter {shown(key)} (parameters: goal); its attacks are fixed")
    goals = [goal.value for goal in suite.goals]
    goal = value.get("goal")
    if goal is None:
        return Part(suite, tuple(suite.goals))
    if goal not in goals:
        hint = did_you_mean(str(goal), goals)
        raise BadInput(f"{who}: it has no attack on goal {shown(goal)}{hint} (goals: {', '.join(goals)})")
    return Part(suite, (Goal(goal),), named=True)
