"""How rows are printed: a text for each column of a row's address, so that no two rows of a table print alike.

A label leaves out the parameters that equal a plug-in's default. Where rows of different cells would print the same,
for example after a default was edited, their labels write out the parameters in which the cells differ.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from splitleak.contract.plugin import short
from splitleak.plan.settings import Clients, Evaluate, Federated, Train
from splitleak.printable import printable
from splitleak.records import CellFields, Record
from splitleak.report.rows import ROW, RowKey, canonical

ADDRESS = (*ROW, "settings")  # the columns that tell rows apart
PLUGINS = ("dataset", "model", "defense", "attack")
UNSET = "unset"  # a parameter that this cell does not have, and another one has
Parts = dict[str, dict[str, Any]]  # column -> what its label is about
Known = dict[tuple[str, str], set[str]]  # (column, parameter) -> its values in a table as canonical JSON


def printed(groups: Mapping[RowKey, Sequence[Record]]) -> dict[RowKey, dict[str, Any]]:
    """The columns of ADDRESS for each row of a table."""
    plain = {key: _plain(key, records) for key, records in groups.items()}
    parts = {key: _parts(key.cell) for key in groups}
    known = _known(parts.values())
    written: dict[RowKey, set[tuple[str, str]]] = {key: set() for key in groups}
    while True:
        rows = {key: _row(plain[key], parts[key], written[key], known) for key in groups}
        added = False
        for keys in _alike(rows):
            differing = {place for place in known if len({_value(parts[key], place) for key in keys}) > 1}
            for key in keys:
                added |= not differing <= written[key]
                written[key] |= differing
        if not added:
            return rows


def needed(rows: Collection[Mapping[str, Any]], usual: Sequence[str]) -> list[str]:
    """The usual columns of a table, and those of ADDRESS without which some of its rows would print alike."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in usual)].append(row)
    more = {name for alike in groups.values() for name in ADDRESS if len({row[name] for row in alike}) > 1}
    return [name for name in ADDRESS if name in usual or name in more]


def protocol_label(cell: CellFields) -> str:
    return str(Federated(**cell["federated"])) if "federated" in cell else str(cell["protocol"])


def aux_label(aux: Mapping[str, Any]) -> str:
    """`same(n=500, labels=False)`: the name and what differs from the default; the same for any order of the keys."""
    ordered = (*sorted(aux.keys() - {"name", "n", "labels"}), "n", "labels")
    chosen = {k: aux[k] for k in ordered if k in aux and (k, aux[k]) not in (("n", None), ("labels", True))}
    return f"{aux['name']}({', '.join(f'{k}={v}' for k, v in chosen.items())})" if chosen else str(aux["name"])


def settings_label(cell: Mapping[str, Any]) -> str:
    """`epochs=5 targets=64`: what differs from the defaults of [train] and [evaluate], in the order of their fields.

    Without the epochs of a federation, whose length is in rounds.
    """
    chosen = _settings(cell)
    usual = {field.name: field.default for cls in (Train, Evaluate) for field in fields(cls)}
    silent = {"epochs"} if "federated" in cell else set()
    return " ".join(
        f"{name}={short(chosen[name])}"
        for name in usual
        if name in chosen and name not in silent and chosen[name] != usual[name]
    )


def _settings(cell: Mapping[str, Any]) -> dict[str, Any]:
    """[train] and [evaluate] by the names that a matrix writes."""
    names = {f.metadata.get("key", f.name): f.name for cls in (Train, Evaluate) for f in fields(cls)}
    return {names.get(key, key): value for key, value in (cell["train"] | cell["evaluate"]).items()}


def _plain(key: RowKey, records: Sequence[Record]) -> dict[str, Any]:
    """The row as its records print it; of labels of several versions the one that says most."""
    cell: Any = key.cell
    labels: list[Any] = [record["labels"] for record in records]
    row = {kind: max((label[kind] for label in labels), key=lambda text: (len(text), text)) for kind in PLUGINS}
    row |= {"cut": cell["cut"], "protocol": protocol_label(cell), "clients": str(Clients(**cell["clients"]))}
    row |= {"threat": cell["threat"], "aux": aux_label(cell["aux"]), "goal": cell["goal"]}
    row["settings"] = settings_label(cell)
    return {name: printable(text) if isinstance(text := row[name], str) else text for name in ADDRESS}


def _parts(cell: Mapping[str, Any]) -> Parts:
    """The whole cell by the column whose label can write it out."""
    attack = cell["attack"] | {name: cell[name] for name in ("tampers",) if name in cell}
    parts = {name: cell[name] for name in ("dataset", "model", "defense", "aux", "clients")} | {"attack": attack}
    parts["protocol"] = cell.get("federated", {})
    used = (*ROW, "federated", "tampers", "train", "evaluate")
    return parts | {"settings": _settings(cell) | {name: value for name, value in cell.items() if name not in used}}


def _known(all_parts: Iterable[Parts]) -> Known:
    known: Known = defaultdict(set)
    for parts in all_parts:
        for column, part in parts.items():
            for name, value in part.items():
                known[column, name].add(canonical(value))
    return known


def _value(parts: Parts, place: tuple[str, str]) -> str:
    column, name = place
    return canonical(parts[column][name]) if name in parts[column] else UNSET


def _alike(rows: Mapping[RowKey, dict[str, Any]]) -> list[list[RowKey]]:
    """Rows that print the same in every column."""
    groups: dict[tuple[Any, ...], list[RowKey]] = defaultdict(list)
    for key, row in rows.items():
        groups[tuple(row.values())].append(key)
    return [keys for keys in groups.values() if len(keys) > 1]


def _row(plain: dict[str, Any], parts: Parts, written: set[tuple[str, str]], known: Known) -> dict[str, Any]:
    row = dict(plain)
    for column, name in sorted(written):
        value = _text(parts[column][name], known[column, name]) if name in parts[column] else UNSET
        row[column] = _with(row[column], name, value, blanks=column == "settings")
    return row


def _text(value: Any, known: set[str]) -> str:
    """A value as tables print it or, where two values of the table would print the same, all of it."""
    texts = {printable(short(json.loads(other))) for other in known}
    return printable(short(value)) if len(texts) == len(known) else canonical(value)


def _with(label: str, name: str, value: str, blanks: bool) -> str:
    """The label with this parameter in it; `blanks`: a list of parameters without a name before it."""
    if name == "name":
        return value + label[len(label.partition("(")[0]) :]
    head, bracket, inside = ("", "", label) if blanks else label.partition("(")
    between = " " if blanks else ", "
    inside = inside.removesuffix(")") if bracket else inside
    parts = re.split(rf"{between}(?=\w+=)", inside) if inside else []
    places = [i for i, part in enumerate(parts) if part.startswith(f"{name}=")]
    if places:
        parts[places[0]] = f"{name}={value}"
    else:
        parts.append(f"{name}={value}")
    return between.join(parts) if blanks else f"{head}({between.join(parts)})"
