"""`splitleak list`: plug-ins, threat models, matrices and suites in 100 columns."""

from __future__ import annotations

import dataclasses
import importlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from enum import Flag
from pathlib import Path
from typing import Any

from splitleak.contract import threats
from splitleak.contract.errors import BadInput, did_you_mean
from splitleak.plan import matrix, plugins, suites
from splitleak.report import text

WIDTH = 100
Entry = tuple[str, str, str]  # name, what it is in one line, and what stands below it


def listing(what: str) -> str:
    """What `splitleak list WHAT` prints: two or more lines for each thing."""
    lists: dict[str, Callable[[], list[Entry]]] = {
        f"{kind}s": lambda kind=kind: _plugins(kind)  # type: ignore[misc]
        for kind in plugins.FOLDERS
    }
    lists |= {"threats": _threats, "matrices": _matrices, "suites": _suites}
    if what not in lists:
        raise BadInput(f"no list of '{what}'{did_you_mean(what, lists)} (legal: {', '.join(lists)})")
    return _entries(lists[what]())


def _entries(entries: Sequence[Entry]) -> str:
    indent = max(len(name) for name, _, _ in entries) + text.GAP
    lines = []
    for name, first, below in entries:
        lines.append(name.ljust(indent) + text.wrap(first, WIDTH, indent, first=indent).lstrip())
        if below:
            lines.append(text.wrap(below, WIDTH, indent + text.GAP, first=indent + text.GAP))
    return "\n".join(lines)


def _plugins(kind: plugins.Kind) -> list[Entry]:
    classes = {name: plugins.find(kind, name, Path.cwd()) for name in plugins.names(kind)}
    return [(name, _first_line(cls), _parameters(cls)) for name, cls in classes.items()]


def _first_line(cls: type[Any]) -> str:
    module = importlib.import_module(cls.__module__)
    return (module.__doc__ or cls.__doc__ or "").strip().splitlines()[0]


def _parameters(cls: type[Any]) -> str:
    """`epsilon=5.0, clip=10.0`: the fields that a matrix may set, with their defaults."""
    fields = [field for field in dataclasses.fields(cls) if field.init]
    return ", ".join(field.name + _default(field.default) for field in fields)


def _default(value: Any) -> str:
    if value is dataclasses.MISSING:
        return ""
    if isinstance(value, Flag):
        return f"={'|'.join(str(one.name) for one in value)}"
    return f"={getattr(value, 'value', value)}"


def _threats() -> list[Entry]:
    entries = []
    for threat in threats.THREATS.values():
        grants = "everything" if threat.grants == threats.EVERYTHING else ", ".join(str(g.name) for g in threat.grants)
        entries.append((threat.name, threat.side, f"may use, where the protocol has it: {grants}"))
    return entries


def _matrices() -> list[Entry]:
    return [_matrix(name) for name in matrix.shipped()]


def _matrix(name: str) -> Entry:
    try:
        about = matrix.about(name)
    except BadInput as error:  # an optional package is not installed
        return name, "cannot be read here", str(error)
    parts = [f"dataset {', '.join(about.datasets)}", text.count(about.cells, "cell")]
    parts += [] if about.minutes is None else [f"about {about.minutes:g} min on two cores"]
    return name, about.what, "; ".join(parts)


def _suites() -> list[Entry]:
    return [(suite.name, _about(suite), _attacks(suite)) for suite in suites.newest_first()]


def _about(suite: suites.Suite) -> str:
    return suite.about.what + ("" if suite.about.released else " Not released yet: its content may change.")


def _attacks(suite: suites.Suite) -> str:
    """`inputs: eavesdropper (channel), honest_server (query_free, pcat); labels: ...`."""
    goals = []
    for goal in suite.goals:
        by_threat: dict[str, list[str]] = defaultdict(list)
        for one in suite.attacks:
            if one.goal is goal:
                by_threat[one.threat].append(str(one.plugin))
        goals.append(
            f"{goal.value}: " + ", ".join(f"{threat} ({', '.join(each)})" for threat, each in by_threat.items())
        )
    return "; ".join(goals)
