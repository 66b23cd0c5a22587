"""The values of every axis, made and checked once, however many cells they occur in.

A point has one value of each axis that the attacks on a victim share.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from splitleak.contract import Grant, Protocol
from splitleak.contract.errors import BadInput
from splitleak.contract.plugin import Plugin, Spec
from splitleak.plan import plugins
from splitleak.plan.axes import Axes
from splitleak.plan.settings import Clients, Federated
from splitleak.printable import shown


class Made(NamedTuple):
    """A plug-in of an axis: the object, and its name with every parameter, defaults filled in."""

    plugin: Plugin
    spec: Spec


class Aux(NamedTuple):
    """A value of the `aux` axis, and what it grants an attacker."""

    spec: Spec
    grants: Grant


class Point(NamedTuple):
    """What all attacks on one victim share, in the order in which the axes are multiplied out."""

    dataset: Made
    model: Made
    protocol: tuple[Protocol | None, Federated | None]
    cut: int | None
    clients: Clients
    aux: Aux
    defense: Made
    seed: int


def values(axes: Axes, federated: Federated, base: Path) -> dict[str, list[Any]]:
    """The values of each field of Point; `federated` is what `[train]` says, plug-in files are named from `base`."""
    return {
        "dataset": [made("dataset", given, base) for given in axes["dataset"]],
        "model": [made("model", given, base) for given in axes["model"]],
        "protocol": [_protocol(given, federated) for given in axes["protocol"]],
        "cut": axes["cut"],
        "clients": [plugins.checked(Clients, given, "axis 'clients'") for given in axes["clients"]],
        "aux": [_aux(given, base) for given in axes["aux"]],
        "defense": [made("defense", given, base) for given in axes["defense"]],
        "seed": axes["seed"],
    }


def made(kind: plugins.Kind, given: Spec, base: Path) -> Made:
    plugin = plugins.make(kind, given, base)
    return Made(plugin, plugin.spec(given["name"]))


def _protocol(given: Spec, usual: Federated) -> tuple[Protocol | None, Federated | None]:
    """The protocol's name and, of `fedavg`, its settings: those of its table, else those of `[train]` in `usual`."""
    own = {key: value for key, value in given.items() if key != "name"}
    if given["name"] != "fedavg":
        if own:
            raise BadInput(f"axis 'protocol': '{given['name']}' takes no {', '.join(map(_cut, own))} (fedavg does)")
        return given["name"], None
    if find_spec("flwr") is None:
        raise BadInput("protocol 'fedavg' is run by Flower, which is not installed: pip install 'splitleak[fed]'")
    checked = plugins.checked(Federated, own, "protocol 'fedavg'")
    if "local_epochs" in own and "local_steps" not in own:
        own["local_steps"] = None
    return "fedavg", replace(usual, **{name: getattr(checked, name) for name in own})


def _aux(given: Spec, base: Path) -> Aux:
    """`same`, `none` or another dataset, with how many records (n) and whether with labels."""
    rest = {key: value for key, value in given.items() if key not in ("n", "labels")}
    n, labels, name = given.get("n"), given.get("labels", True), given["name"]
    if n is not None and (type(n) is not int or n < 1):
        raise BadInput(f"axis 'aux': n must be a whole number from 1, not {shown(n)}")
    if type(labels) is not bool:
        raise BadInput(f"axis 'aux': labels must be true or false, not {shown(labels)}")
    if name not in ("same", "none"):
        rest = plugins.make("dataset", rest, base).spec(name)
    elif len(rest) > 1:
        raise BadInput(
            f"axis 'aux': '{name}' takes n and labels, not {', '.join(map(_cut, sorted(set(rest) - {'name'})))}"
        )
    spec = rest | {"n": n, "labels": labels}
    return Aux(spec, aux_grants(spec))


def aux_grants(spec: Spec) -> Grant:
    """What a value of the `aux` axis grants."""
    if spec["name"] == "none":
        return Grant(0)
    return Grant.AUX | Grant.AUX_LABELS if spec.get("labels", True) else Grant.AUX


def _cut(key: str) -> str:
    """A key as a message names it."""
    return shown(key)[1:-1]
