"""What is asked in a cell: whose records are under attack, what the attacker owns, what counts as an answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from splitleak.contract import Attack, Data, Dataset, Goal, Grant, Records, threats
from splitleak.contract.errors import BadInput
from splitleak.plan import plugins
from splitleak.plan.cell import Cell
from splitleak.plan.seeds import axis_seed
from splitleak.score.question import Question, floor_of


def targets_of(cell: Cell, data: Data, goal: Goal) -> tuple[Records, Tensor]:
    """The records under attack (unique ones), and for each whether it was trained on."""
    generator = torch.Generator().manual_seed(axis_seed("targets", cell) % 2**62)
    members, strangers = unique(data.private), unique(data.test)
    strangers = strangers.take((~torch.isin(strangers.id, data.private.id)).nonzero().flatten())
    if goal is Goal.MEMBERSHIP:
        half = min(cell.evaluate.targets // 2, len(members), len(strangers))
        both = join(some(members, half, generator), some(strangers, half, generator))
        order = torch.randperm(2 * half, generator=generator)  # neither a place nor a batch may tell who is who
        return both.take(order.to(both.x.device)), (order < half).float()
    source = members if cell.evaluate.whose == "train" else strangers
    chosen = some(source, min(cell.evaluate.targets, len(source)), generator)
    return chosen, torch.full((len(chosen),), float(cell.evaluate.whose == "train"))


def sent_together(cell: Cell, private: Records, sent: list[Any]) -> tuple[Records, Tensor, list[tuple[int, int]]]:
    """Under `fedavg`: the records of the first updates, for each the update that it is in, and what these are.

    Every record once; of the last update as many as there is room for. A target's place among those of its update is
    drawn: nothing tells which guess is whose, so a guess is a set and is matched within the update.
    """
    generator = torch.Generator().manual_seed(axis_seed("targets", cell) % 2**62)
    places: list[Tensor] = []
    group: list[int] = []
    senders: list[tuple[int, int]] = []
    seen: set[int] = set()
    ids = private.id.tolist()
    for number, client, rows in sent:
        drawn = [rows[i] for i in torch.randperm(len(rows), generator=generator).tolist()]
        fresh = list({ids[row]: row for row in drawn if ids[row] not in seen}.values())
        fresh = fresh[: cell.evaluate.targets - len(group)]
        if not fresh:
            continue
        seen |= {ids[row] for row in fresh}
        places.append(torch.tensor(fresh))
        group += [len(senders)] * len(fresh)
        senders.append((number, client))
    return private.take(torch.cat(places).to(private.x.device)), torch.tensor(group), senders


def aux_of(cell: Cell, data: Data, targets: Records, base: Path) -> Records:
    """The attacker's own records: no target is among them, and no patient of one where patients are kept apart."""
    aux = data.aux
    if cell.aux["name"] not in ("same", "none"):
        spec = {key: value for key, value in cell.aux.items() if key not in ("n", "labels")}
        other = cast(Dataset, plugins.make("dataset", spec, base)).load().to(targets.x.device)
        if other.in_shape != data.in_shape or other.in_range != data.in_range:
            raise BadInput(f"axis 'aux': '{spec['name']}' has records {other.in_shape} in {other.in_range}, "
                           f"the victim's are {data.in_shape} in {data.in_range}")  # fmt: skip
        if cell.aux["labels"] and (other.task.kind, other.task.size) != (data.task.kind, data.task.size):
            mine, theirs = (f"{task.kind} ({task.size})" for task in (data.task, other.task))
            raise BadInput(f"axis 'aux': '{spec['name']}' has labels of another task, {theirs}, than the victim's, "
                           f"{mine}; write labels = false")  # fmt: skip
        aux = join(other.private, other.aux, other.test)
    if cell.aux["name"] in ("same", "none", cell.dataset["name"]):  # identities mean nothing between datasets
        aux = aux.take((~torch.isin(aux.id, targets.id)).nonzero().flatten())
    n = cell.aux["n"]
    generator = torch.Generator().manual_seed(axis_seed("aux", cell) % 2**62)
    return aux if n is None or n >= len(aux) else some(aux, n, generator)


def unique(records: Records) -> Records:
    """The first record of each identity."""
    order = records.id.argsort(stable=True)
    sorted_ids = records.id[order]
    first = torch.ones_like(sorted_ids, dtype=torch.bool)
    first[1:] = sorted_ids[1:] != sorted_ids[:-1]
    return records.take(order[first].sort().values)


def some(records: Records, n: int, generator: torch.Generator) -> Records:
    return records.take(torch.randperm(len(records), generator=generator)[:n].to(records.x.device))


def join(*parts: Records) -> Records:
    def whole(name: str) -> Tensor | None:
        tensors = [getattr(part, name) for part in parts]
        return None if any(t is None for t in tensors) else torch.cat(tensors)

    x, y, ids = (torch.cat([getattr(part, name) for part in parts]) for name in ("x", "y", "id"))
    return Records(x, y, ids, whole("group"), whole("property"))


SETS = (Goal.INPUTS, Goal.LABELS)  # what an update tells of its records, it tells in no order


@dataclass
class Scene:
    """All that a cell's attack and its null twin share: records, question, grants."""

    cell: Cell
    data: Data
    base: Path
    kept: tuple[dict[str, Tensor], dict[str, Any]]
    draw: int = 0  # of the hints

    def __post_init__(self) -> None:
        self.attack = cast(Attack, plugins.make("attack", self.cell.attack, self.base))
        self.goal = self.attack.goal
        grants = Grant(0) if self.cell.aux["name"] == "none" else threats.DATA
        if not self.cell.aux["labels"]:
            grants &= ~Grant.AUX_LABELS
        self.grants = threats.granted(self.cell.threat, self.cell.protocol, self.goal, grants)
        if self.cell.evaluate.whose == "test" and self.goal is not Goal.MEMBERSHIP:
            self.grants &= ~(Grant.GRADIENT | Grant.LABELS)  # nothing comes back for records that train nobody
        self.group: Tensor | None = None
        if self.cell.protocol == "fedavg" and self.goal in SETS and self.cell.evaluate.whose == "train":
            self.targets, self.group, self.senders = sent_together(self.cell, self.data.private, self.kept[1]["sent"])
            self.member = torch.ones(len(self.targets))
        else:
            self.targets, self.member = targets_of(self.cell, self.data, self.goal)
        self.aux = aux_of(self.cell, self.data, self.targets, self.base)

    @cached_property
    def hints(self) -> Tensor:
        """Positions of a few targets of each class (of any, where there are no classes): draw 0 takes the first."""
        y, k = self.targets.y, self.cell.evaluate.hints
        order = torch.arange(len(y))
        if self.draw:
            seed = axis_seed(f"hints {self.draw}", self.cell) % 2**62
            order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
        order = order.to(y.device)
        if self.data.task.kind != "classes":
            return order[:k]
        return torch.cat([order[y[order] == c][:k] for c in range(self.data.task.size)])

    @cached_property
    def test_in_train(self) -> float:
        """The share of the test records that were trained on: no strangers, so left out where strangers are asked."""
        return float(torch.isin(self.data.test.id, self.data.private.id).double().mean())

    @property
    def flags(self) -> list[str]:
        """The dataset's own and, of a question about strangers, whether some of its test part are none."""
        strangers = self.goal is Goal.MEMBERSHIP or self.cell.evaluate.whose == "test"
        return [*self.data.flags, *(["test-in-train"] if strangers and self.test_in_train else [])]

    @cached_property
    def question(self) -> Question:
        n = len(self.targets)
        counted = torch.ones(n, dtype=torch.bool)
        if self.goal is Goal.LABELS:
            counted[self.hints.cpu()] = False
        x, y, prop = self.targets.x.cpu().double(), self.targets.y.cpu(), self.targets.property
        if self.goal is Goal.PROPERTY and prop is None:
            raise BadInput(f"dataset '{self.cell.dataset['name']}' names no property: goal PROPERTY has no truth")
        truths = {Goal.INPUTS: x, Goal.LABELS: y, Goal.MEMBERSHIP: self.member}
        truth = truths[self.goal] if self.goal in truths else cast(Tensor, prop).cpu()
        mine = self.data.aux.take((~torch.isin(self.data.aux.id, self.targets.id)).nonzero().flatten())
        floor = floor_of(mine, self.targets, self.data.task, Grant.LABELS in self.grants)
        counted_at = counted.nonzero().flatten()
        asked = Question(
            self.goal, self.data.task, self.data.in_range, self.targets, truth, floor, counted_at, self.group
        )
        return asked.against_lots(mine, axis_seed("lots", self.cell)) if self.group is not None else asked
