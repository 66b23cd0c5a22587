"""Division of image records into private, auxiliary and test part: whole people, chosen by a hash of their name.

A person's part hardly depends on which other people are in the dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.array_files import Array

TRAIN = (0.6, 0.4)  # shares of the official training patients: private, auxiliary
TEST = 0.2  # share of all patients that is the test part, where there is no official one


@dataclass(frozen=True)
class Manifest:
    """For each record: its name, its label and, where known, its patient and whether it is official test data."""

    name: Sequence[str]
    label: Array  # (n,) int64; every label is spread over all parts
    patient: Sequence[str] | None = None  # None: unknown, each record counts as one person
    test: Array | None = None  # (n,) bool; None: no official test part

    def take(self, rows: Array) -> Manifest:
        pick = [None if a is None else [a[i] for i in rows] for a in (self.name, self.patient)]
        return Manifest(pick[0] or [], self.label[rows], pick[1], None if self.test is None else self.test[rows])

    def people(self) -> tuple[Array, Array]:
        """The names of all people, and for each record (n,) the index of its person."""
        names, person = np.unique(
            np.array(self.patient if self.patient is not None else self.name), return_inverse=True
        )
        return names, person


def assign_parts(manifest: Manifest, who: str, n: int | None = None) -> tuple[Array, tuple[str, ...]]:
    """Each record's part, (n,): 0 private, 1 auxiliary, 2 test, -1 left out; and notes on what was left out.

    Within each label people are ordered by their hash, and the order is cut at the shares. With `n`, only as many
    people stay as have n private records; the auxiliary part shrinks in proportion, and at most n test records stay.
    """
    names, person = manifest.people()
    stratum, tested = np.zeros(len(names), np.int64), np.zeros(len(names), bool)
    np.maximum.at(stratum, person, manifest.label)
    if manifest.test is not None:
        np.logical_or.at(tested, person, manifest.test)
    shares = TRAIN if manifest.test is not None else ((1 - TEST) * TRAIN[0], (1 - TEST) * TRAIN[1], TEST)
    _check_enough_people(manifest, tested, len(shares), who)
    depth = _depths(names, stratum, tested)
    part = np.where(tested, 2, np.digitize(depth, np.cumsum(shares)[:-1]))[person]
    notes: tuple[str, ...] = ()
    if manifest.test is not None and (both := (part == 2) & ~manifest.test).any():
        part[both] = -1
        notes = (f"{who}: {int(both.sum())} training images left out: their patients are in the test part too",)
    for p, limit in enumerate(() if n is None else (n, max(1, round(n * TRAIN[1] / TRAIN[0])), n)):
        _limit(part, person, depth, p, limit)
    return part, notes


def _check_enough_people(manifest: Manifest, tested: Array, parts: int, who: str) -> None:
    train, test = int((~tested).sum()), int(tested.sum())
    if train < parts or (manifest.test is not None and not test):
        what = "people" if manifest.patient is not None else "images"
        raise BadInput(
            f"{who}: {train} {what} for training and {test} for testing; private, auxiliary and test part need "
            f"at least one of their own each"
        )


def _depths(names: Array, stratum: Array, tested: Array) -> Array:
    """(P,): each person's place in the hash order of their label, between 0 and 1."""
    ordered = np.argsort([blake2b(name.encode(), digest_size=8).digest() for name in names.tolist()], kind="stable")
    depth = np.zeros(len(names))
    for label, test in {*zip(stratum.tolist(), tested.tolist(), strict=True)}:
        same = ordered[(stratum[ordered] == label) & (tested[ordered] == test)]
        depth[same] = (np.arange(len(same)) + 0.5) / len(same)
    return depth


def _limit(part: Array, person: Array, depth: Array, p: int, limit: int) -> None:
    """Leave people of part p out, the last of every label first, until at most `limit` records or one person stay."""
    rows = np.flatnonzero(part == p)
    people, counts = np.unique(person[rows], return_counts=True)
    order = np.argsort(depth[people], kind="stable")
    stay = people[order][np.cumsum(counts[order]) <= max(limit, counts[order][0])]
    part[rows[~np.isin(person[rows], stay)]] = -1


def note_left_out(who: str, bad: Sequence[str], total: int, what: str, legal: str = "") -> tuple[str, ...]:
    """A note that the records named in `bad` are left out; BadInput if they are more than one in twenty."""
    if not bad:
        return ()
    message = f"{who}: {count_and_examples(bad)} of {total} {what}"
    if len(bad) * 20 > total:
        raise BadInput(f"{message}: more than one in twenty{legal and '; ' + legal}")
    return (f"{message}: left out",)


def count_and_examples(names: Sequence[str]) -> str:
    """How many names there are, and the first three: `5 (a, b, c, ...)`."""
    return f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
