"""Which row of the leaderboard a record belongs to: everything in its cell but the seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from splitleak.contract import threats
from splitleak.contract.nouns import Grant
from splitleak.plan.settings import Clients, Federated
from splitleak.records import CellFields, Record

Settings = tuple[tuple[str, Any], ...]  # a section of the matrix as sorted pairs
CONTROL = "blind"
ROW = ("dataset", "model", "cut", "protocol", "clients", "threat", "aux", "defense", "goal", "attack")


@dataclass(frozen=True)
class RowKey:
    """The address of a row. Plug-ins, clients, protocol and auxiliary data stand as they are printed."""

    dataset: str
    model: str
    cut: int | None
    protocol: str
    clients: str
    threat: str
    aux: str
    defense: str
    goal: str
    attack: str
    settings: tuple[Settings, Settings]  # [train] and [evaluate]; no column shows them
    control: bool = False  # is it the row of `blind`, the best guess without the channel?

    @classmethod
    def of(cls, record: Record) -> RowKey:
        cell, labels = record["cell"], record["labels"]
        return cls(
            labels["dataset"], labels["model"], cell["cut"], protocol_label(cell), str(Clients(**cell["clients"])),
            cell["threat"], aux_label(cell["aux"]), labels["defense"], cell["goal"], labels["attack"],
            (tuple(sorted(cell["train"].items())), tuple(sorted(cell["evaluate"].items()))),
            cell["attack"]["name"] == CONTROL,
        )  # fmt: skip

    def undefended(self) -> RowKey:
        """The row of the same attack on the undefended victim."""
        return replace(self, defense="none")

    def question(self) -> RowKey:
        """The part that all attacks on this victim with this goal share: threat and attack are left empty."""
        return replace(self, threat="", attack="", control=False)

    @property
    def grants(self) -> Grant:
        return granted(self.threat, self.protocol)

    def columns(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ROW}


def is_control(label: str) -> bool:
    """The same from a label in the table; a file of the user's that is named alike has another label."""
    return label.partition("(")[0] == CONTROL


def granted(threat: str, protocol: str) -> Grant:
    """What an attacker of this threat model holds under a protocol as printed."""
    return threats.THREATS[threat].on(protocol.partition("(")[0])


def protocol_label(cell: CellFields) -> str:
    return str(Federated(**cell["federated"])) if "federated" in cell else str(cell["protocol"])


def aux_label(aux: Mapping[str, Any]) -> str:
    """`same(n=500, labels=False)`: the name and what differs from the default."""
    chosen = {k: v for k, v in aux.items() if k != "name" and (k, v) not in (("n", None), ("labels", True))}
    return f"{aux['name']}({', '.join(f'{k}={v}' for k, v in chosen.items())})" if chosen else str(aux["name"])


def by_row(records: Iterable[Record]) -> dict[RowKey, list[Record]]:
    """Records by the row that they belong to, in the order in which they come."""
    groups: dict[RowKey, list[Record]] = defaultdict(list)
    for record in records:
        groups[RowKey.of(record)].append(record)
    return dict(groups)


def done_by_row(records: Iterable[Record]) -> dict[RowKey, list[Record]]:
    """The same of the records that have scores."""
    return by_row(record for record in records if record["status"] == "done")
