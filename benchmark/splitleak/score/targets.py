"""Which records an attack is tested on, and which records the attacker owns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import BadInput, Data, Goal, Records, Task
from splitleak.datasets.reading.identity import record_hashes
from splitleak.plan.case import Case

Sender = tuple[int, int]  # (round, client) of an update


def targets_of(case: Case, data: Data) -> tuple[Records, Tensor]:
    """The targets, each identity once, and for each 1 if the victim was trained on it."""
    evaluate, generator = case.cell.evaluate, case.seeds.generator("targets")
    members, strangers = unique(data.private), unique(data.test)
    strangers = strangers.take((~torch.isin(strangers.id, data.private.id)).nonzero().flatten())
    if case.attack.goal is Goal.MEMBERSHIP:
        both = alike(members, strangers, evaluate.targets // 2, data.task, generator)
        half = len(both[0])
        order = torch.randperm(2 * half, generator=generator)  # neither position nor batch may tell a member
        return join(*both).take(order.to(members.x.device)), (order < half).float()
    source = members if evaluate.targets_from == "train" else strangers
    chosen = some(source, min(evaluate.targets, len(source)), generator)
    return chosen, torch.full((len(chosen),), float(evaluate.targets_from == "train"))


def strangers_like(case: Case, data: Data, targets: Records) -> Records:
    """Test records that trained nobody, each identity once: as many as there are targets, of the same classes."""
    strangers = unique(data.test)
    strangers = strangers.take((~torch.isin(strangers.id, data.private.id)).nonzero().flatten())
    strangers = some(strangers, len(strangers), case.seeds.generator("control"))
    if data.task.kind != "classes":
        return strangers.take(torch.arange(min(len(targets), len(strangers))))
    ours, theirs = nth_of_class(targets.y, data.task.size), nth_of_class(strangers.y, data.task.size)
    return strangers.take(torch.isin(theirs, ours).nonzero().flatten())


def alike(
    members: Records, strangers: Records, n: int, task: Task, generator: torch.Generator
) -> tuple[Records, Records]:
    """At most n members drawn at random, and as many strangers; each class occurs equally often in both.

    Without this the class alone tells members from strangers. Masks and values have no classes to match.
    """
    members, strangers = some(members, len(members), generator), some(strangers, len(strangers), generator)
    if task.kind != "classes":
        n = min(n, len(members), len(strangers))
        return members.take(torch.arange(n)), strangers.take(torch.arange(n))
    ours, theirs = nth_of_class(members.y, task.size), nth_of_class(strangers.y, task.size)
    chosen = torch.isin(ours, theirs).nonzero().flatten()[:n]  # as many of a class as both have
    return members.take(chosen), strangers.take(torch.isin(theirs, ours[chosen]).nonzero().flatten())


def nth_of_class(y: Tensor, classes: int) -> Tensor:
    """(n,): a number for each record that names its class, and the how many-th of this class it is."""
    nth = F.one_hot(y, classes).cumsum(0).gather(1, y[:, None])[:, 0]
    return nth * classes + y


def sent_together(
    case: Case, private: Records, sent: Sequence[tuple[int, int, list[int]]]
) -> tuple[Records, Tensor, list[Sender]]:
    """Under `fedavg`: the records behind the first updates, the update of each, and who sent these updates.

    Each record occurs once. The last update contributes as many as there is room for. The order within an update is
    drawn: nothing tells which guess belongs to which record, so a guess is a set and is matched within the update.
    """
    generator, limit = case.seeds.generator("targets"), case.cell.evaluate.targets
    places: list[Tensor] = []
    group: list[int] = []
    senders: list[Sender] = []
    used: set[int] = set()
    ids = private.id.tolist()
    for number, client, rows in sent:
        drawn = [rows[i] for i in torch.randperm(len(rows), generator=generator).tolist()]
        fresh = list({ids[row]: row for row in drawn if ids[row] not in used}.values())
        fresh = fresh[: limit - len(group)]
        if not fresh:
            continue
        used |= {ids[row] for row in fresh}
        places.append(torch.tensor(fresh))
        group += [len(senders)] * len(fresh)
        senders.append((number, client))
    return private.take(torch.cat(places).to(private.x.device)), torch.tensor(group), senders


def aux_of(case: Case, data: Data, targets: Records, other: Data | None = None) -> Records:
    """The attacker's own records. No target is among them, and no patient of a target if patients are kept apart.

    other: the dataset that the `aux` axis names, where it is not the victim's own.
    """
    spec = case.cell.aux
    if (other is None) != (case.aux_dataset is None):
        raise ValueError("the records of the dataset that the aux axis names are needed, and no others")
    aux = data.aux if other is None else _other_population(case, data, other)
    is_target = torch.isin(aux.id, targets.id)
    if other is not None:  # the same records may have other ids there, and other records the same ids
        is_target = torch.isin(record_hashes(aux.x), record_hashes(targets.x)).to(aux.id.device)
        if spec["name"] == case.cell.dataset["name"]:
            is_target |= torch.isin(aux.id, targets.id) | _of_their_patients(aux, targets, data)
    aux = aux.take((~is_target).nonzero().flatten())
    if not len(aux):
        raise BadInput(f"axis 'aux': every record of '{spec['name']}' is a target or a patient of one: none is left")
    n, generator = spec["n"], case.seeds.generator("aux")
    return aux if n is None or n >= len(aux) else some(aux, n, generator)


def _of_their_patients(aux: Records, targets: Records, data: Data) -> Tensor:
    """(M,) whether a record is of a target's patient, where the victim's dataset keeps patients apart."""
    if aux.group is None or targets.group is None or "patients-shared" in data.flags:
        return torch.zeros_like(aux.id, dtype=torch.bool)
    return torch.isin(aux.group, targets.group)


def _other_population(case: Case, data: Data, other: Data) -> Records:
    """All records of the dataset that the `aux` axis names, which must have the form of the victim's records."""
    spec = case.cell.aux
    who = f"axis 'aux': '{spec['name']}'"
    if other.in_shape != data.in_shape or other.in_range != data.in_range:
        victims = f"{data.in_shape} in {data.in_range}"
        raise BadInput(f"{who} has records {other.in_shape} in {other.in_range}, the victim's are {victims}")
    if spec["labels"] and (other.task.kind, other.task.size) != (data.task.kind, data.task.size):
        victims, others = (f"{task.kind} ({task.size})" for task in (data.task, other.task))
        raise BadInput(
            f"{who} has labels of another task, {others}, than the victim's, {victims}; write labels = false"
        )
    return join(other.private, other.aux, other.test)


def unique(records: Records) -> Records:
    """The first record of each identity."""
    order = records.id.argsort(stable=True)
    sorted_ids = records.id[order]
    first = torch.ones_like(sorted_ids, dtype=torch.bool)
    first[1:] = sorted_ids[1:] != sorted_ids[:-1]
    return records.take(order[first].sort().values)


def some(records: Records, n: int, generator: torch.Generator) -> Records:
    """n records drawn at random."""
    return records.take(torch.randperm(len(records), generator=generator)[:n].to(records.x.device))


def join(*parts: Records) -> Records:
    """All records of these parts in a row."""

    def whole(name: str) -> Tensor | None:
        tensors = [getattr(part, name) for part in parts]
        return None if any(t is None for t in tensors) else torch.cat(tensors)

    x, y, ids = (torch.cat([getattr(part, name) for part in parts]) for name in ("x", "y", "id"))
    return Records(x, y, ids, whole("group"), whole("property"))
