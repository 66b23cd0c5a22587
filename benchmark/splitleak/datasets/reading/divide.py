"""People go to the private, the auxiliary or the test part by a hash of their name: whoever else comes or goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from splitleak.contract import Data, Records, Task
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.check import checked
from splitleak.datasets.reading.folder import Array

TRAIN = (0.6, 0.4)  # of the official training patients: private, auxiliary
TEST = 0.2  # of all patients, where there is no official test part
RANGE = (0.0, 1.0)


@dataclass(frozen=True)
class Roll:
    """One line for each record: its name and label, its patient and whether it is official test data, where known."""

    name: Sequence[str]
    label: Array  # (n,) int64; every label is spread over all parts
    patient: Sequence[str] | None = None  # None: not known, every record is taken for a person of its own
    test: Array | None = None  # (n,) bool; None: no official test part

    def take(self, rows: Array) -> Roll:
        pick = [None if a is None else [a[i] for i in rows] for a in (self.name, self.patient)]
        return Roll(pick[0] or [], self.label[rows], pick[1], None if self.test is None else self.test[rows])

    def people(self) -> tuple[Array, Array]:
        """Names of all people, and each record's place among them."""
        names, person = np.unique(
            np.array(self.patient if self.patient is not None else self.name), return_inverse=True
        )
        return names, person


def deal(roll: Roll, who: str, n: int | None = None) -> tuple[Array, tuple[str, ...]]:
    """Each record's part, (n,): 0 private, 1 auxiliary, 2 test, -1 left out; and what is to be told.

    Within each label people are ordered by their hash and cut at the shares. With `n`, only as many people as
    hold n private records stay, the auxiliary part shrinks with them, and no more than n test records stay.
    """
    names, person = roll.people()
    stratum = np.zeros(len(names), np.int64)
    np.maximum.at(stratum, person, roll.label)
    tested = np.zeros(len(names), bool)
    if roll.test is not None:
        np.logical_or.at(tested, person, roll.test)
    shares = TRAIN if roll.test is not None else ((1 - TEST) * TRAIN[0], (1 - TEST) * TRAIN[1], TEST)
    have, wanted = len(names) - int(tested.sum()), len(shares)
    if have < wanted or (roll.test is not None and not tested.any()):
        what = "people" if roll.patient is not None else "images"
        raise BadInput(f"{who}: {have} {what} to train on and {int(tested.sum())} to test on: too few to keep "
                       f"private, auxiliary and test {what} apart (at least one each)")  # fmt: skip
    ordered = np.argsort([blake2b(name.encode(), digest_size=8).digest() for name in names.tolist()], kind="stable")
    depth = np.zeros(len(names))  # how deep each lies in the order of its label, 0..1
    for label, test in {*zip(stratum.tolist(), tested.tolist(), strict=True)}:
        same = ordered[(stratum[ordered] == label) & (tested[ordered] == test)]
        depth[same] = (np.arange(len(same)) + 0.5) / len(same)
    part_of = np.where(tested, 2, np.digitize(depth, np.cumsum(shares)[:-1]))
    part = part_of[person]
    notes: tuple[str, ...] = ()
    if roll.test is not None and (both := (part == 2) & ~roll.test).any():
        part[both] = -1
        notes = (f"{who}: {int(both.sum())} training images of patients who are in the test part too are left out",)
    for p, limit in enumerate(() if n is None else (n, max(1, round(n * TRAIN[1] / TRAIN[0])), n)):
        _limit(part, person, depth, p, limit)
    return part, notes


def _limit(part: Array, person: Array, depth: Array, p: int, limit: int) -> None:
    """Leave people of one part out, the deepest of every label first, until `limit` records stay, or one person's."""
    rows = np.flatnonzero(part == p)
    whose = person[rows]
    people, counts = np.unique(whose, return_counts=True)
    order = np.argsort(depth[people], kind="stable")
    stay = people[order][np.cumsum(counts[order]) <= max(limit, counts[order][0])]
    part[rows[~np.isin(whose, stay)]] = -1


def divided(
    roll: Roll, part: Array, x: Tensor, y: Tensor, task: Task, who: str, flags: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Data:  # fmt: skip
    """uint8 pictures x (n, C, H, W) as records in their parts, checked; of copies one stays, a private one first."""
    identity = hashes(x)
    order = np.argsort(part, kind="stable")
    first = np.zeros(len(part), bool)
    first[order[np.unique(identity.numpy()[order], return_index=True)[1]]] = True
    if copies := len(first) - int(first.sum()):
        named = [roll.name[i] for i in np.flatnonzero(~first)[:3]]
        notes += (f"{who}: {some(copies, named)} show the same picture as another record and are left out",)
    group = None if roll.patient is None else torch.from_numpy(roll.people()[1].astype(np.int64))
    whole = Records(x, y, identity, group)
    rows = (torch.from_numpy(np.flatnonzero((part == p) & first)) for p in range(3))
    pieces = [whole.take(r) for r in rows]
    private, aux, test = (Records(r.x.float() / 255, r.y, r.id, r.group) for r in pieces)
    for name, r in (("private", private), ("auxiliary", aux), ("test", test)):
        if not len(r):
            raise BadInput(f"{who}: no image for the {name} part ({len(x)} images in all)")
    return checked(Data(private, aux, test, task, RANGE, flags, notes), who)


def hashes(x: Tensor) -> Tensor:
    """(n,) int64: equal exactly where the pixels are."""
    digests = (blake2b(row.tobytes(), digest_size=8).digest() for row in x.numpy())
    return torch.tensor([int.from_bytes(d, "big") >> 1 for d in digests], dtype=torch.int64)


def leave_out(who: str, bad: Sequence[str], total: int, what: str, legal: str = "") -> tuple[str, ...]:
    """What to tell of a few that are left out; BadInput if they are more than one in twenty."""
    if not bad:
        return ()
    said = f"{who}: {some(len(bad), bad[:3])} of {total} {what}"
    if len(bad) * 20 > total:
        raise BadInput(f"{said}: more than one in twenty{legal and '; ' + legal}")
    return (f"{said}: left out",)


def some(count: int, named: Sequence[str]) -> str:
    """A number and the first names of what it counts."""
    return f"{count} ({', '.join(named)}{', ...' if count > len(named) else ''})"
