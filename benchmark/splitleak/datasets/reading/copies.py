"""What the parts of a dataset may not share: no record and no person, whatever the ids say."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from splitleak.contract import Records
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.identity import record_hashes

Parts = dict[str, Records]


def check_parts_are_disjoint(parts: Parts, flags: tuple[str, ...], who: str) -> None:
    """Two parts share no record, and no patient unless the flag `patients-shared` declares it.

    With the flag `reference-split` the test part may share records with the two others, as it was published.
    """
    for (a, one), (b, other) in combinations(parts.items(), 2):
        if (a == "private" and b == "aux") or "reference-split" not in flags:
            _check_disjoint(one.id, other.id, f"{who}: the {a} and {b} parts share", "records")
        if one.group is not None and other.group is not None and "patients-shared" not in flags:
            what = "patients, and the flag 'patients-shared' is not set"
            _check_disjoint(one.group, other.group, f"{who}: the {a} and {b} parts share", what)


def check_copies(parts: Parts, who: str) -> None:
    """One id for one content: records with the same id have the same values, and exact copies have the same id.

    With that, parts that share no id share no copy either, and an id stands for a record everywhere.
    """
    identity = torch.cat([part.id.cpu() for part in parts.values()])
    content = torch.cat([record_hashes(part.x) for part in parts.values()])
    if (found := _conflict(content, identity)) is not None:
        problem = "are exact copies under different ids; copies must share an id, and no two parts may hold one"
        raise BadInput(f"{who}: {_places(found, parts)} {problem}")
    if (found := _conflict(identity, content)) is not None:
        problem = "have the same id and other values; only exact copies may share an id"
        raise BadInput(f"{who}: {_places(found, parts)} {problem}")


def _check_disjoint(one: Tensor, other: Tensor, message: str, what: str) -> None:
    if shared := int(torch.isin(one.unique(), other.unique()).sum()):
        raise BadInput(f"{message} {shared} {what}")


def _conflict(key: Tensor, value: Tensor) -> tuple[int, int] | None:
    """The positions of two entries with an equal key and different values."""
    order = key.argsort(stable=True)
    same, differ = key[order].diff() == 0, value[order].diff() != 0
    found = torch.nonzero(same & differ).flatten()
    return (int(order[found[0]]), int(order[found[0] + 1])) if len(found) else None


def _places(positions: tuple[int, int], parts: Parts) -> str:
    """`record 3 of the private part and record 0 of the test part`, from positions in all parts in a row."""
    named = []
    for position in positions:
        for name, part in parts.items():
            if position < len(part):
                named.append(f"record {position} of the {name} part")
                break
            position -= len(part)
    return " and ".join(named)
