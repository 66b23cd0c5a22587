"""A matrix file unfolded into cells: every axis multiplied out, defaults filled in, all checked before any run."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast, get_args

from splitleak.contract import Attack, Defense, Goal, Grant, Model, Protocol, threats
from splitleak.contract.errors import BadInput, NotAtHand
from splitleak.contract.plugin import Spec
from splitleak.contract.protocols import TRAFFIC
from splitleak.plan import plugins
from splitleak.plan.cell import Cell
from splitleak.plan.settings import Clients, Evaluate, Federated, Train

AXES = ("dataset", "model", "cut", "protocol", "clients", "threat", "aux", "defense", "attack", "seed")
SECTIONS = ("matrix", "train", "evaluate")
FEDERATED = ("rounds", "local_epochs", "local_steps", "strategy", "fraction", "proximal_mu", "server_lr")  # in [train]


@dataclass(frozen=True)
class Matrix:
    """The cells of a matrix, in order; files of plug-ins are named from `base`."""

    cells: list[Cell]
    base: Path
    notes: tuple[str, ...] = ()


def shipped() -> list[str]:
    """The matrices that come with the package."""
    found = resources.files("splitleak.matrices").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in found if f.name.endswith(".toml"))


def read(source: str | Path | dict[str, Any], base: Path | None = None) -> Matrix:
    """A matrix from a path, the name of one that ships, or a dict of the same form."""
    if isinstance(source, dict):
        return expand(source, "matrix", base or Path.cwd())
    return expand(*written(source))


def written(source: str | Path) -> tuple[dict[str, Any], str, Path]:
    """What a matrix file says, what to call it, and where its plug-in files are named from."""
    path = Path(source)
    if path.suffix != ".toml" and str(source) in shipped():
        text = (resources.files("splitleak.matrices") / f"{source}.toml").read_text()
        return _parse(text, str(source)), f"matrix '{source}'", Path.cwd()
    if not path.is_file():
        hint = plugins.did_you_mean(str(source), shipped())
        raise BadInput(f"no matrix '{source}'{hint} (a TOML file, or one that ships: {', '.join(shipped())})")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"matrix '{source}' cannot be read: {error}") from None
    return _parse(text, str(source)), f"matrix '{source}'", path.resolve().parent


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"matrix '{name}' is no TOML: {error}") from None


def expand(raw: dict[str, Any], who: str, base: Path) -> Matrix:
    """All axes multiplied out and checked; `who` stands before what is wrong."""
    try:
        return _unfolded(raw, who, base)
    except BadInput as error:  # whoever is wrong, say where it is written
        raise error if str(error).startswith(who) else type(error)(f"{who}: {error}") from None


def _unfolded(raw: dict[str, Any], who: str, base: Path) -> Matrix:
    for section in raw:
        if section not in SECTIONS:
            hint = plugins.did_you_mean(section, SECTIONS)
            raise BadInput(f"{who}: no section [{section}]{hint} (sections: {', '.join(SECTIONS)})")
        if not isinstance(raw[section], dict) and not (section == "matrix" and _is_blocks(raw[section])):
            raise BadInput(f"{who}: '{section}' must be a section, [{section}]")
    blocks = raw.get("matrix", {})
    given = raw.get("train", {})
    asked = {name: given[name] for name in FEDERATED if name in given}
    own = {name: value for name, value in given.items() if name not in asked}
    train = plugins.checked(Train, own, f"{who}: [train]")
    federated = plugins.checked(Federated, asked, f"{who}: [train]")
    evaluate = plugins.checked(Evaluate, raw.get("evaluate", {}), f"{who}: [evaluate]")
    blank = Cell(train=train, evaluate=evaluate, federated=federated)
    cells: list[Cell] = []
    notes: list[str] = []
    for block in blocks if isinstance(blocks, list) else [blocks]:
        axes = _axes(block, who)
        axes["dataset"], missing = _at_hand(axes["dataset"], base)
        notes += missing
        cells += [cell for point in _points(axes) for cell in _cells(blank, point, axes, base)]
    unique = list({cell.key: cell for cell in cells}.values())
    return Matrix(unique, base, tuple(dict.fromkeys(notes)))


def _is_blocks(given: Any) -> bool:
    """`[[matrix]]`, one or more times: each is multiplied out by itself, and what they share is done once."""
    return isinstance(given, list) and bool(given) and all(isinstance(block, dict) for block in given)


def _axes(given: dict[str, Any], who: str) -> dict[str, list[Any]]:
    """Every axis as a list of resolved values: specs unfolded, simple ones checked for type."""
    for axis in given:
        if axis not in AXES:
            raise BadInput(f"{who}: no axis '{axis}'{plugins.did_you_mean(axis, AXES)} (axes: {', '.join(AXES)})")
    for axis in ("dataset", "model"):
        if axis not in given:
            raise BadInput(f"{who}: [matrix] needs '{axis}'")
    usual: dict[str, list[Any]] = {"cut": [None], "protocol": [None], "clients": [1], "threat": [None], "aux": ["same"]}
    usual |= {"defense": ["none"], "attack": ["blind"], "seed": [0]}
    axes = {}
    for axis in AXES:
        values = given.get(axis, usual.get(axis))
        if not isinstance(values, list) or not values:
            raise BadInput(f"{who}: axis '{axis}' must be a list that is not empty, not {values!r}")
        axes[axis] = _unfold(axis, values, who)
        for i, value in enumerate(axes[axis]):
            if value in axes[axis][:i]:
                raise BadInput(f"{who}: axis '{axis}' holds {value!r} twice")
    return axes


def _unfold(axis: str, values: list[Any], who: str) -> list[Any]:
    if axis in ("cut", "seed"):
        for value in values:
            if value is not None and (type(value) is not int or value < 0):
                raise BadInput(f"{who}: axis '{axis}' takes whole numbers from 0, not {value!r}")
        return values
    legal = {"protocol": get_args(Protocol), "threat": tuple(threats.THREATS)}.get(axis)
    if legal:
        for value in values:
            name = value.get("name") if axis == "protocol" and isinstance(value, dict) else value
            if name is not None and name not in legal:
                raise BadInput(
                    f"{who}: no {axis} '{name}'{plugins.did_you_mean(str(name), legal)} ({axis}s: {', '.join(legal)})"
                )
        if axis == "threat":
            return values
        named = [value if isinstance(value, dict) else {"name": value} for value in values]
        return [point for table in named for point in _table_points(table, axis, who)]
    if axis == "clients":
        values = [{"n": value} if type(value) is int else value for value in values]
    tables = [{"name": value} if isinstance(value, str) else value for value in values]
    for table in tables:
        if not isinstance(table, dict) or (axis != "clients" and not isinstance(table.get("name"), str)):
            raise BadInput(f"{who}: axis '{axis}': each is a name or a table with a name, not {table!r}")
    return [point for table in tables for point in _table_points(table, axis, who)]


def _table_points(table: dict[str, Any], axis: str, who: str) -> Iterator[dict[str, Any]]:
    """A list inside a table is an axis of its own."""
    for key, value in table.items():
        if value == []:
            raise BadInput(f"{who}: axis '{axis}': '{key}' is an empty list")
    choices = [value if isinstance(value, list) else [value] for value in table.values()]
    for values in itertools.product(*choices):
        yield dict(zip(table, values, strict=True))


def _points(axes: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """The victims' side of the matrix and its seeds: what all attacks of a row share."""
    shared = ("dataset", "model", "protocol", "cut", "clients", "aux", "defense", "seed")
    for values in itertools.product(*(axes[axis] for axis in shared)):
        yield dict(zip(shared, values, strict=True))


def _cells(blank: Cell, point: dict[str, Any], axes: dict[str, list[Any]], base: Path) -> Iterator[Cell]:
    """The attacks on one victim, under one or more threats; the control `blind` beside each pair that occurs."""
    victim = _victim(blank, point, base)
    victim = replace(victim, null=point["seed"] == axes["seed"][0], skip=_idle(victim, base))
    grants = _aux_grants(victim.aux)
    cells: list[Cell] = []
    blind: list[Spec] = []
    for given in axes["attack"]:
        attack = cast(Attack, plugins.make("attack", given, base))
        spec = attack.spec(given["name"])
        if given["name"] == "blind":
            blind.append(given)
            continue
        cells += [_aimed(victim, attack, spec, threat, grants) for threat in axes["threat"]]
    seen = list(dict.fromkeys((cell.threat, cell.goal) for cell in cells if not cell.skip))
    seen = seen or [("eavesdropper", Goal.INPUTS.value)]
    for given in blind:
        wanted = [(t, g) for t, g in seen if given.get("goal", g) == g] or [(seen[0][0], given.get("goal", "inputs"))]
        for threat, goal in wanted:
            yield replace(victim, attack={"name": "blind", "goal": goal}, goal=goal, threat=threat)
    yield from cells


def _aimed(victim: Cell, attack: Attack, spec: Spec, threat: str | None, aux: Grant) -> Cell:
    protocol, goal = victim.protocol, attack.goal
    if threat is None:
        threat = threats.first_legal(protocol, goal, attack.needs, aux) or "oracle"
    why = threats.objection(threat, protocol, goal, attack.needs, aux)
    why = victim.skip or why
    return replace(victim, attack=spec, goal=goal.value, threat=threat, skip=why, tampers=Grant.TAMPER in attack.needs)


def _idle(victim: Cell, base: Path) -> str | None:
    """Why a defence would do nothing here: its row would show a protection that is none."""
    defense = cast(Defense, plugins.make("defense", victim.defense, base))
    if victim.protocol in defense.protocols:
        return None
    return f"defense '{defense}' does nothing under protocol '{victim.protocol}' ({', '.join(defense.protocols)})"


def _victim(blank: Cell, point: dict[str, Any], base: Path) -> Cell:
    """A cell with all but the attack: plug-ins checked, their defaults filled in, the cut legal."""
    model = cast(Model, plugins.make("model", point["model"], base))
    named = point["protocol"]["name"]
    protocol = cast(Protocol, named or ("u_shape" if model.u_shaped else "vanilla"))
    cuts = model.cuts(protocol)
    if TRAFFIC[protocol].cut and not cuts:
        legal = ", ".join(p for p in get_args(Protocol) if not TRAFFIC[p].cut or model.cuts(p))
        raise BadInput(f"model '{model}' cannot be cut under protocol '{protocol}' (legal protocols: {legal})")
    cut = None if not TRAFFIC[protocol].cut else cuts[0] if point["cut"] is None else point["cut"]
    if cut is not None and cut not in cuts:
        legal = ", ".join(str(c) for c in sorted(cuts)) or "none"
        raise BadInput(f"model '{model}' cannot be cut at {cut} under protocol '{protocol}' (legal cuts: {legal})")
    clients = plugins.checked(Clients, point["clients"], "axis 'clients'")
    if clients.n == 1:
        clients = replace(clients, skew=None)  # one client holds everything: the same cell
    federated = _federated(blank, point["protocol"])
    if federated is not None:
        clients = replace(clients, mode="parallel" if clients.n > 1 else "sequential")
        blank = replace(blank, train=replace(blank.train, epochs=1))  # rounds count
    return replace(
        blank,
        dataset=_resolved("dataset", point, base),
        model=_resolved("model", point, base),
        defense=_resolved("defense", point, base),
        cut=cut,
        protocol=protocol,
        federated=federated,
        clients=clients,
        aux=_aux(point["aux"], base),
        seed=point["seed"],
    )


def _federated(blank: Cell, given: Spec) -> Federated | None:
    """What a table on the protocol axis says, over what `[train]` says for all."""
    own = {key: value for key, value in given.items() if key != "name"}
    if given["name"] != "fedavg":
        if own:
            raise BadInput(f"axis 'protocol': '{given['name']}' takes no {', '.join(own)} (fedavg does)")
        return None
    if find_spec("flwr") is None:
        raise BadInput("protocol 'fedavg' is run by Flower, which is not installed: pip install 'splitleak[fed]'")
    said = plugins.checked(Federated, own, "protocol 'fedavg'")
    if "local_epochs" in own and "local_steps" not in own:
        own["local_steps"] = None
    return replace(cast(Federated, blank.federated), **{name: getattr(said, name) for name in own})


def _resolved(kind: plugins.Kind, point: dict[str, Any], base: Path) -> Spec:
    """A plug-in's name with all its parameters, checked."""
    return plugins.make(kind, point[kind], base).spec(point[kind]["name"])


def _aux(given: Spec, base: Path) -> Spec:
    """The auxiliary axis: `same`, `none` or another dataset, with how many records and whether with labels."""
    options = {key: given[key] for key in ("n", "labels") if key in given}
    rest = {key: value for key, value in given.items() if key not in ("n", "labels")}
    n, labels = options.get("n"), options.get("labels", True)
    if n is not None and (type(n) is not int or n < 1):
        raise BadInput(f"axis 'aux': n must be a whole number from 1, not {n!r}")
    if type(labels) is not bool:
        raise BadInput(f"axis 'aux': labels must be true or false, not {labels!r}")
    if given["name"] in ("same", "none"):
        if len(rest) > 1:
            raise BadInput(
                f"axis 'aux': '{given['name']}' takes n and labels, not {', '.join(sorted(set(rest) - {'name'}))}"
            )
    else:
        rest |= plugins.make("dataset", rest, base).parameters()
    return rest | {"n": n, "labels": labels}


def _aux_grants(aux: Spec) -> Grant:
    if aux["name"] == "none":
        return Grant(0)
    return Grant.AUX | Grant.AUX_LABELS if aux["labels"] else Grant.AUX


def _at_hand(specs: list[Spec], base: Path) -> tuple[list[Spec], list[str]]:
    """Replace a dataset whose files are missing by its `otherwise`, and say so."""
    found: list[Spec] = []
    notes: list[str] = []
    for spec in specs:
        wanted = {key: value for key, value in spec.items() if key != "otherwise"}
        if "otherwise" in spec:
            other = spec["otherwise"]
            other = {"name": other} if isinstance(other, str) else other
            if not isinstance(other, dict) or "name" not in other:
                said = f"must be a name or a table with one, not {spec['otherwise']!r}"
                raise BadInput(f"dataset '{spec['name']}': otherwise {said}")
            try:
                cast(Any, plugins.make("dataset", wanted, base)).load()
            except NotAtHand as error:
                notes.append(f"{error}; using '{plugins.label('dataset', other, base)}' instead")
                wanted = other
        found.append(wanted)
    return found, notes
