"""The nouns of split learning that every other file speaks of: goals, grants, tasks and records.

Letters in shapes: B batch, N targets, M auxiliary records, K classes; `*in` one record, `*cut` one
activation, `*out` what the server sends back in a u-shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, Flag, auto
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

Shape = tuple[int, ...]
Parameters = Iterable[nn.Parameter]
Protocol = Literal["central", "vanilla", "u_shape"]


class Goal(Enum):
    """What an attack reconstructs; it decides the guess's shape, the floor and the metrics."""

    INPUTS = "inputs"  # guess (N, *in) inside in_range
    LABELS = "labels"  # guess (N, K) scores, (N, 1, H, W) probabilities or (N, D) values, by task
    PROPERTY = "property"  # guess (N,) scores of a yes/no property that the dataset names
    MEMBERSHIP = "membership"  # guess (N,) scores: was this target among the training records?


class Grant(Flag):
    """One thing that an adversary may have. A threat model is a named set of these."""

    SMASHED = auto()  # what the client sent, defence applied; in a u-shape also the features sent back
    GRADIENT = auto()  # what came back for it; in a u-shape also the gradient of the features
    LABELS = auto()  # the labels that cross the wire
    HINTS = auto()  # a few targets whose labels are known, left out of the score
    INPUTS = auto()  # the targets themselves: for a client that wants the server's labels
    TOP = auto()  # the server's part
    BOTTOM = auto()  # the client's part, weights included
    ARCHITECTURE = auto()  # the client's part, untrained
    QUERY = auto()  # run records of one's own through the client and its defence
    AUX = auto()  # auxiliary records, none shared with the targets
    AUX_LABELS = auto()  # and their labels
    PAIRS = auto()  # private records with what was sent for them, no target among them
    DEFENSE = auto()  # the algorithm of the defence and its parameters
    STEPS = auto()  # to look on while the victim trains
    TAMPER = auto()  # to send the client another gradient
    UPDATES = auto()  # the weights that a client of a federation sends


@dataclass(frozen=True)
class Task:
    """What the model predicts: one of K classes, a mask, or D values; with it the loss that trains it."""

    kind: Literal["classes", "mask", "value"]
    size: int  # K classes, D values, or 1 for a mask

    def loss(self, prediction: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
        """Cross-entropy of logits, binary cross-entropy of mask logits, or squared error; () or summed over B."""
        if self.kind == "classes":
            return F.cross_entropy(prediction, y, reduction=reduction)
        per = F.binary_cross_entropy_with_logits if self.kind == "mask" else F.mse_loss
        whole = per(prediction, y.to(prediction.dtype))  # mean over elements: one record's loss has no size in it
        return whole if reduction == "mean" else whole * len(y)


@dataclass(frozen=True)
class Records:
    """A set of records: x (n, *in), y (n, ...), the person each is from, and an identity that duplicates share."""

    x: Tensor
    y: Tensor
    id: Tensor  # (n,) int64
    group: Tensor | None = None  # (n,) int64, patients where known
    property: Tensor | None = None  # (n,) 0/1, what a PROPERTY attack is after

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Records:
        """The records at these positions."""
        pick = [None if t is None else t[index] for t in (self.group, self.property)]
        return Records(self.x[index], self.y[index], self.id[index], *pick)

    def to(self, device: torch.device) -> Records:
        moved = [None if t is None else t.to(device) for t in (self.group, self.property)]
        return Records(self.x.to(device), self.y.to(device), self.id.to(device), *moved)


@dataclass(frozen=True)
class Data:
    """A divided dataset: private records train the victim, auxiliary ones the attacker, test ones judge utility."""

    private: Records
    aux: Records
    test: Records
    task: Task
    in_range: tuple[float, float]
    flags: tuple[str, ...] = ()  # e.g. patients-shared, reference-split
    notes: tuple[str, ...] = ()  # what was left out on loading, and why; a run tells it

    @property
    def in_shape(self) -> Shape:
        return tuple(self.private.x.shape[1:])

    def to(self, device: torch.device) -> Data:
        private, aux, test = (part.to(device) for part in (self.private, self.aux, self.test))
        return Data(private, aux, test, self.task, self.in_range, self.flags, self.notes)


@dataclass(frozen=True)
class Privacy:
    """A differential-privacy guarantee for one record: composed over all times it is sent, and for one of them."""

    epsilon: float
    delta: float
    epsilon_one: float
