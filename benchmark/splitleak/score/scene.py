"""A scene: everything that the run of an attack and its run on the null channel share.

The attack is shown the messages of all records in `sent`. Those are the targets or, with a control population, the
targets and as many strangers in one drawn order: it cannot tell which is which, so both meet the same attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from splitleak.contract import BadInput, Data, Goal, Grant, Records, threats
from splitleak.plan.case import Case
from splitleak.plan.cell import Cell
from splitleak.score.floor import floor_of
from splitleak.score.question import Question
from splitleak.score.targets import Sender, aux_of, join, sent_together, strangers_like, targets_of
from splitleak.train.facts import Kept

UNORDERED = (Goal.INPUTS, Goal.LABELS)  # what an update reveals about its records, it reveals in no order


@dataclass
class Scene:
    """The targets, the attacker's records and grants, and the question that the attack answers."""

    case: Case
    data: Data
    kept: Kept
    draw: int = 0  # of the hints
    other: Data | None = None  # the dataset that the `aux` axis names beside the victim's own
    shadows: Sequence[Kept] = ()  # as many as the attack asks for, in the order of their numbers

    def __post_init__(self) -> None:
        cell, data = self.case.cell, self.data
        self.attack, self.goal = self.case.attack, self.case.attack.goal
        self.grants = self._grants()
        self.group: Tensor | None = None  # the update of each target, where a guess is a set
        self.senders: list[Sender] = []
        if cell.traffic.updates and self.goal in UNORDERED and cell.evaluate.targets_from == "train":
            sent = self.kept.facts.learned.sent or []
            self.targets, self.group, self.senders = sent_together(self.case, data.private, sent)
            self.member = torch.ones(len(self.targets))
        else:
            self.targets, self.member = targets_of(self.case, data)
        self.sent, self.strangers = self.targets, self.targets.take(torch.arange(0))
        if cell.evaluate.control:
            self.strangers = strangers_like(self.case, data, self.targets)
        n = len(self.targets)
        self.own, self.theirs = torch.arange(n), torch.arange(0)  # positions in `sent`: of targets, of strangers
        if len(self.strangers):
            both = join(self.targets, self.strangers)
            order = torch.randperm(len(both), generator=self.case.seeds.generator("control order"))
            self.sent, places = both.take(order.to(both.x.device)), order.argsort()
            self.own, self.theirs = places[:n], places[n:]
        self.aux = aux_of(self.case, data, self.sent, self.other)

    def _grants(self) -> Grant:
        cell = self.case.cell
        aux = Grant(0) if cell.aux["name"] == "none" else threats.DATA
        if not cell.aux["labels"]:
            aux &= ~Grant.AUX_LABELS
        grants = threats.granted(cell.threat, cell.protocol, self.goal, aux)
        if cell.evaluate.targets_from == "test" and self.goal is not Goal.MEMBERSHIP:
            grants &= ~(Grant.GRADIENT | Grant.LABELS)  # nothing comes back for records that train nobody
        return grants

    @property
    def cell(self) -> Cell:
        return self.case.cell

    @cached_property
    def hints(self) -> Tensor:
        """Positions of a few targets of each class, or of any targets if there are no classes.

        They are drawn. If they were the first of their class, no target before them would be of that class.
        """
        y, k = self.targets.y, self.cell.evaluate.hints
        order = torch.randperm(len(y), generator=self.case.seeds.generator(f"hints {self.draw}")).to(y.device)
        if self.data.task.kind != "classes":
            return order[:k]
        return torch.cat([order[y[order] == c][:k] for c in range(self.data.task.size)])

    @cached_property
    def test_in_train(self) -> float:
        """The share of the test records that are training records too; they are never used as strangers."""
        return float(torch.isin(self.data.test.id, self.data.private.id).double().mean())

    @property
    def flags(self) -> list[str]:
        """The flags of the dataset, and `test-in-train` where strangers are needed and some are none."""
        strangers = self.goal is Goal.MEMBERSHIP or self.cell.evaluate.targets_from == "test"
        return [*self.data.flags, *(["test-in-train"] if strangers and self.test_in_train else [])]

    @cached_property
    def others(self) -> Records:
        """The auxiliary records of the victim's dataset without the targets: floors and levels are made of them."""
        aux = self.data.aux
        return aux.take((~torch.isin(aux.id, self.targets.id)).nonzero().flatten())

    @cached_property
    def question(self) -> Question:
        """The question with its ground truth and its floor."""
        counted = torch.ones(len(self.targets), dtype=torch.bool)
        if self.goal is Goal.LABELS:
            counted[self.hints.cpu()] = False
        floor = floor_of(self.goal, self.data.task, self.others, self.targets, self.grants, self.group)
        return Question(
            self.goal, self.data.task, self.data.in_range, self.targets, self._truth(), floor,
            counted.nonzero().flatten(), self.group,
        )  # fmt: skip

    @cached_property
    def asked(self) -> Question:
        """The form of the guess: for everything that was sent."""
        return replace(self.question, targets=self.sent)

    @cached_property
    def control(self) -> Question:
        """The same question about the strangers; only where the guess is records."""
        x, n = self.strangers.x.double().cpu(), len(self.strangers)
        floor = floor_of(self.goal, self.data.task, self.others, self.strangers, self.grants)
        return Question(self.goal, self.data.task, self.data.in_range, self.strangers, x, floor, torch.arange(n))

    def _truth(self) -> Tensor:
        """What the attack has to find."""
        if self.goal is Goal.PROPERTY and self.targets.property is None:
            raise BadInput(f"dataset '{self.cell.dataset['name']}' names no property: goal PROPERTY has no truth")
        if self.goal is Goal.LINKAGE and self.targets.group is None:
            raise BadInput(f"dataset '{self.cell.dataset['name']}' names no people: goal LINKAGE has no truth")
        truths = {
            Goal.INPUTS: self.targets.x.double(), Goal.LABELS: self.targets.y,
            Goal.PROPERTY: self.targets.property, Goal.MEMBERSHIP: self.member, Goal.LINKAGE: self.targets.group,
        }  # fmt: skip
        return cast(Tensor, truths[self.goal]).cpu()
