"""Who is exposed: per record and person how well it was guessed, and the risk of classes and groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from splitleak.contract import Data
from splitleak.datasets.reading.own_arrays import OPTIONAL, read_own
from splitleak.records import Record

MOST = 20  # records and persons that are named
LEAST = 5  # records of a group whose risk is told


@dataclass(frozen=True)
class Members:
    """The members as their file has them: what each record is called."""

    row: dict[int, int]  # identity of a record -> its first row in the file
    person: list[Any] | None  # of each row
    label: list[int] | None  # of each row, where y are classes
    property: list[int] | None

    @classmethod
    def of(cls, data: Data, file: Path) -> Members:
        raw = read_own(file, str(file), (*OPTIONAL, "y"))
        ids = data.private.id.tolist()
        rows = {identity: row for row, identity in reversed([*enumerate(ids)])}
        classes = data.task.kind == "classes" and "y" in raw
        return cls(
            rows, raw["group"].tolist() if "group" in raw else None,
            data.private.y.tolist() if classes else None,
            [int(v) for v in raw["property"]] if "property" in raw else None,
        )  # fmt: skip


def exposed(record: Record, members: Members) -> dict[str, Any]:
    """Of the record of one attack: the best guessed records, persons by how many of theirs were found, and groups."""
    per = record["per_target"]
    rows = [members.row[identity] for identity in per["id"]]
    skill, rank = np.array(per["skill"]), np.array(per["rank"])
    found: dict[str, Any] = {"records": [], "targets": len(rows)}
    for i in np.lexsort((-skill, rank))[:MOST]:
        person = {} if members.person is None else {"person": members.person[rows[i]]}
        found["records"].append({"row": rows[i], **person, "skill": float(skill[i]), "rank": int(rank[i])})
    if members.person is not None:
        found |= _persons(per, rows, members.person, members.row)
    groups = {"class": members.label, "property": members.property}
    found["groups"] = {name: _risks(of, rows, skill, rank) for name, of in groups.items() if of is not None}
    return found


def _persons(per: Any, rows: Sequence[int], person: Sequence[Any], row: dict[int, int]) -> dict[str, Any]:
    """A person is named where a guess for one of the person's records lies nearest to a record of the same person."""
    own = [person[r] for r in rows]
    named = [person[row[identity]] for identity in per["nearest"]]
    hits: dict[Any, list[bool]] = {}
    for one, other in zip(own, named, strict=True):
        hits.setdefault(one, []).append(one == other)
    listed = [{"person": who, "records": len(h), "named": sum(h)} for who, h in hits.items()]
    listed.sort(key=lambda one: (-one["named"] / one["records"], -one["records"], str(one["person"])))
    most = max(len(h) for h in hits.values()) / len(rows)
    return {
        "persons": listed[:MOST], "people": len(hits), "people_named": sum(any(h) for h in hits.values()),
        "share_named": float(np.mean([a == b for a, b in zip(own, named, strict=True)])), "largest_person": most,
    }  # fmt: skip


def _risks(of: Sequence[int], rows: Sequence[int], skill: Any, rank: Any) -> list[dict[str, Any]]:
    names = np.array([of[r] for r in rows])
    risks = []
    for name in np.unique(names):
        chosen = names == name
        if chosen.sum() >= LEAST:
            share = float((rank[chosen] == 1).mean())
            risks.append(
                {
                    "name": int(name),
                    "records": int(chosen.sum()),
                    "reid": share,
                    "skill": float(np.median(skill[chosen])),
                }
            )
    return risks


def at_most_found(record: Record, candidates: int) -> float:
    """Expected share of records re-identified among so many candidates, where the attack's guesses stay as good.

    Among no more than were measured it is the share that was measured. Of n targets, others lie nearer to a guess with
    probability p = (rank - 1) / (n - 1); among N candidates nobody does with (1 - p)^(N - 1). Where p was never seen it
    is taken for 0, so the share is at most this.
    """
    rank = np.array(record["per_target"]["rank"], dtype=float)
    if candidates <= len(rank):
        return float((rank == 1).mean())
    others = max(len(rank) - 1, 1)
    return float(np.mean((1 - (rank - 1) / others) ** (candidates - 1)))
