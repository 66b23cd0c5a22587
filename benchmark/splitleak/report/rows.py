"""Which row of a table a record belongs to: the canonical form of its cell without the seed and the null run.

Labels do not decide: they leave out what equals a plug-in's present default, and that may have been another one when a
record was made. report/labels.py prints rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from splitleak.contract import threats
from splitleak.contract.nouns import Grant
from splitleak.records import Record

CONTROL = "blind"
ROW = ("dataset", "model", "cut", "protocol", "clients", "threat", "aux", "defense", "goal", "attack")
UNDEFENDED = {"name": "none"}
NO_PART = ("seed", "null")  # of a row: seeds are averaged, and the null run is made for one of them
OF_THE_ATTACK = ("threat", "attack", "tampers")  # not the goal: attacks compete for one goal


@dataclass(frozen=True)
class RowKey:
    """A row by its cell: rows of different cells are never one, however they are printed."""

    text: str  # canonical JSON

    @classmethod
    def of(cls, record: Record) -> RowKey:
        return cls._of({name: value for name, value in record["cell"].items() if name not in NO_PART})

    @classmethod
    def _of(cls, cell: dict[str, Any]) -> RowKey:
        return cls(canonical(cell))

    @cached_property
    def cell(self) -> dict[str, Any]:
        """The cell without its seed."""
        found: dict[str, Any] = json.loads(self.text)
        return found

    def undefended(self) -> RowKey:
        """The row of the same attack on the undefended victim, with the same settings."""
        return self._of(self.cell | {"defense": UNDEFENDED})

    def question(self) -> RowKey:
        """What all attacks on this victim with this goal share: the cell without threat and attack."""
        return self._of({name: value for name, value in self.cell.items() if name not in OF_THE_ATTACK})

    def victim(self) -> RowKey:
        """What all attacks on this victim share, whatever their goal."""
        return self._of({name: value for name, value in self.cell.items() if name not in (*OF_THE_ATTACK, "goal")})

    @property
    def control(self) -> bool:
        """Is it the row of `blind`, the best guess without the channel?"""
        return bool(self.cell["attack"]["name"] == CONTROL)

    @property
    def defended(self) -> bool:
        return bool(self.cell["defense"] != UNDEFENDED)

    @property
    def grants(self) -> Grant:
        return granted(self.cell["threat"], self.cell["protocol"])


def canonical(value: Any) -> str:
    """JSON with sorted keys: the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def is_control(label: str) -> bool:
    """The same from a label in the table; a file of the user's that is named alike has another label."""
    return label.partition("(")[0] == CONTROL


def granted(threat: str, protocol: str) -> Grant:
    """What an attacker of this threat model holds under a protocol, also as printed."""
    return threats.THREATS[threat].on(protocol.partition("(")[0])


def by_row(records: Iterable[Record]) -> dict[RowKey, list[Record]]:
    """Records by the row that they belong to, rows in the order in which they come: one record of each seed, by seed.

    Matrices with other lists of seeds make the null run for another seed, so a folder may hold a seed twice.
    """
    groups: dict[RowKey, dict[int, Record]] = {}
    for record in records:
        seeds, seed = groups.setdefault(RowKey.of(record), {}), record["cell"]["seed"]
        seeds[seed] = _counting(seeds[seed], record) if seed in seeds else record
    return {key: [seeds[seed] for seed in sorted(seeds)] for key, seeds in groups.items()}


def done_by_row(records: Iterable[Record]) -> dict[RowKey, list[Record]]:
    """The same of the records that have scores."""
    return by_row(record for record in records if record["status"] == "done")


def _counting(one: Record, other: Record) -> Record:
    """Of two records of a seed the one that counts: done, with a null run; else the same one in any order."""
    return max(one, other, key=lambda record: (record["status"] == "done", "null" in record, canonical(record)))
