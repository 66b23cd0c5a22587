"""The nouns of split learning that every other file speaks of: goals, grants, tasks and records.

Letters in shapes: B batch, N targets, M auxiliary records, K classes; `*in` one record, `*cut` one
activation, `*out` what the server sends back in a u-shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, Flag, auto
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

Shape = tuple[int, ...]
Parameters = Iterable[nn.Parameter]
Protocol = Literal["central", "vanilla", "u_shape", "fedavg"]
WHOLE = ("central", "fedavg")  # protocols without a cut: the network stays in one piece
Objective = Literal["own", "bce", "dice", "bce_dice"]  # the loss that trains; a kind's own, or one for masks


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
    objective: Objective = "own"  # set from `[train] loss` where the data of a cell is loaded, not by the dataset

    def constant(self, y: Tensor) -> Tensor:
        """The one answer that fits all of y best: a class (), a mask (1, H, W) of 0 and 1, or values (D,).

        A mask is the mean one, cut where it overlaps most: cut at one half it may be empty, and easily beaten.
        """
        if self.kind == "classes":
            return y.bincount(minlength=self.size).argmax()
        mean = y.double().mean(0)
        if self.kind == "value":
            return mean
        truth, cuts = y > 0.5, [mean > level for level in torch.arange(0.05, 1, 0.05)]
        best: Tensor = max(cuts, key=lambda cut: _overlap(cut, truth))
        return best.double()

    def loss(self, prediction: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
        """Each record's own loss, as its mean or summed over B: (). A record's loss has no size of records in it.

        own: cross-entropy of logits (B, K), squared error of values, binary cross-entropy plus Dice of mask logits,
        as is usual for a U-Net. y of a mask may be soft.
        """
        if self.kind == "classes":
            return F.cross_entropy(prediction, y, reduction=reduction)
        y = y.to(prediction.dtype)
        if self.kind == "value":
            return _pointwise(F.mse_loss, prediction, y, reduction)
        if self.objective == "dice":
            return _dice(prediction, y, reduction)
        loss = _pointwise(F.binary_cross_entropy_with_logits, prediction, y, reduction)
        return loss if self.objective == "bce" else loss + _dice(prediction, y, reduction)


def _pointwise(per: Callable[..., Tensor], prediction: Tensor, y: Tensor, reduction: str) -> Tensor:
    """Mean over a record's elements; a sum goes record by record, so that no gradient knows the size of its batch."""
    if reduction == "mean":
        return per(prediction, y)
    return per(prediction, y, reduction="none").flatten(1).mean(1).sum()


def _dice(logits: Tensor, y: Tensor, reduction: str) -> Tensor:
    """Soft Dice loss of probabilities, a record at a time: 1 - (2 sum py + 1) / (sum p + sum y + 1)."""
    p, y = logits.sigmoid().flatten(1), y.flatten(1)
    each = 1 - (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)  # (B,)
    return each.mean() if reduction == "mean" else each.sum()


def _overlap(mask: Tensor, truth: Tensor) -> float:
    """Mean intersection over union of one mask (1, H, W) with many (n, 1, H, W)."""
    both, either = (mask & truth).flatten(1).sum(1), (mask | truth).flatten(1).sum(1)
    return float((both / either.clamp(min=1)).mean())


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
class Form:
    """What records look like and are for, and nothing of any one of them: enough to build a network."""

    in_shape: Shape
    in_range: tuple[float, float]
    task: Task


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

    @property
    def form(self) -> Form:
        return Form(self.in_shape, self.in_range, self.task)

    def to(self, device: torch.device) -> Data:
        private, aux, test = (part.to(device) for part in (self.private, self.aux, self.test))
        return Data(private, aux, test, self.task, self.in_range, self.flags, self.notes)


@dataclass(frozen=True)
class Privacy:
    """A differential-privacy guarantee for one record: composed over all times it is sent, and for one of them."""

    epsilon: float
    delta: float
    epsilon_one: float
