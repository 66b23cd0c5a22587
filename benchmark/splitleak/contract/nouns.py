"""The nouns of split learning that every other file uses: goals, grants, records and data.

Letters in shapes: B batch, N targets, M auxiliary records, K classes; `*in` one record, `*cut` one activation,
`*out` what the server sends back in a u-shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, Flag, auto
from math import ceil
from typing import Literal

import torch
from torch import Tensor, nn

from splitleak.contract.task import Task

Shape = tuple[int, ...]
Parameters = Iterable[nn.Parameter]


class Goal(Enum):
    """What an attack reconstructs; it decides the guess's shape, the floor and the metrics."""

    INPUTS = "inputs"  # guess (N, *in) inside in_range
    LABELS = "labels"  # guess (N, K) scores, (N, 1, H, W) probabilities or (N, D) values, by task
    PROPERTY = "property"  # guess (N,) scores of a yes/no property that the dataset names, above 0 for yes
    MEMBERSHIP = "membership"  # guess (N,) scores: was this target among the training records?
    LINKAGE = "linkage"  # guess (N, D) of any D: the cosine of two rows tells whether both targets are of one person


class Grant(Flag):
    """One thing that an adversary may have. A threat model is a named set of these."""

    SMASHED = auto()  # the smashed data, defence applied; in a u-shape also the features that come down
    GRADIENT = auto()  # the gradient that comes back; in a u-shape also the gradient of the features
    LABELS = auto()  # the labels that cross the wire
    HINTS = auto()  # a few targets whose labels are known, left out of the score
    INPUTS = auto()  # the targets themselves: for a client that wants the server's labels
    TOP = auto()  # the server's part
    BOTTOM = auto()  # the client's part with its weights
    ARCHITECTURE = auto()  # the client's part with fresh weights
    QUERY = auto()  # to run own records through the client and its defence
    AUX = auto()  # auxiliary records; no target is among them
    AUX_LABELS = auto()  # the labels of the auxiliary records
    PAIRS = auto()  # private records with their smashed data; no target is among them
    DEFENSE = auto()  # the algorithm of the defence and its parameters
    STEPS = auto()  # to observe every step of the training
    TAMPER = auto()  # to send the client another gradient in place of the honest one
    UPDATES = auto()  # the weights that a client of a federation sends
    SHADOWS = auto()  # victims of the same recipe, each trained on a random half of all records in question


@dataclass(frozen=True)
class Records:
    """A set of records: x (n, *in), y (n, ...), an identity that exact copies share, and the person of each."""

    x: Tensor
    y: Tensor
    id: Tensor  # (n,) int64
    group: Tensor | None = None  # (n,) int64, patients where known
    property: Tensor | None = None  # (n,) 0 or 1: what a PROPERTY attack infers

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Records:
        """The records at these positions."""
        return self._each(lambda t: t[index])

    def to(self, device: torch.device) -> Records:
        return self._each(lambda t: t.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Records:
        optional = [None if t is None else change(t) for t in (self.group, self.property)]
        return Records(change(self.x), change(self.y), change(self.id), *optional)


@dataclass(frozen=True)
class Form:
    """Shape, range and task of the records: enough to build a network, and no record is needed."""

    in_shape: Shape
    in_range: tuple[float, float]
    task: Task


@dataclass(frozen=True)
class Data:
    """A divided dataset: private records train the victim, auxiliary ones the attacker; test ones measure utility."""

    private: Records
    aux: Records
    test: Records
    task: Task
    in_range: tuple[float, float]
    flags: tuple[str, ...] = ()  # e.g. patients-shared, reference-split
    notes: tuple[str, ...] = ()  # what the loader left out, and why; the run prints it

    @property
    def in_shape(self) -> Shape:
        return tuple(self.private.x.shape[1:])

    @property
    def form(self) -> Form:
        return Form(self.in_shape, self.in_range, self.task)

    def to(self, device: torch.device) -> Data:
        private, aux, test = (part.to(device) for part in (self.private, self.aux, self.test))
        return Data(private, aux, test, self.task, self.in_range, self.flags, self.notes)


@dataclass(frozen=True)
class Exposure:
    """How often a victim used the records of one unit: of a record with its copies, or of a person."""

    steps: int  # that its client really took; under `fedavg` rounds
    batches: int = 1  # steps of its client in an epoch
    copies: int = 1  # how many of the training records are the unit's
    records: int = 1  # how many of these differ
    released: bool = True  # whether each of the differing records is sent once more after training

    @property
    def epochs(self) -> int:
        """Epochs that were begun: at most so often each copy was used."""
        return ceil(self.steps / self.batches)

    @property
    def messages(self) -> int:
        """Messages about the unit: each copy once an epoch, and each differing record in the release."""
        return self.copies * self.epochs + self.records * self.released


@dataclass(frozen=True)
class Privacy:
    """A differential-privacy guarantee for one unit: composed over all that was released, and for a single release."""

    epsilon: float
    delta: float
    epsilon_one: float  # of a single release of a single copy
    unit: Literal["record", "label", "client"]  # what is hidden: a record, only its label, or all of a client
    adjacency: Literal["add or remove", "replace"]  # what neighbours differ by: the unit is missing, or is another one
    multiplicity: int = 1  # how many copies of the unit in the training records epsilon counts
