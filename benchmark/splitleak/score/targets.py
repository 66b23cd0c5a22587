"""Which records an attack is tested on, and which records the attacker owns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from splitleak.contract import BadInput, Data, Goal, Records
from splitleak.plan.case import Case
from splitleak.process_settings import unchanged

Sender = tuple[int, int]  # (round, client) of an update


def targets_of(case: Case, data: Data) -> tuple[Records, Tensor]:
    """The targets, each identity once, and for each 1 if the victim was trained on it."""
    evaluate, generator = case.cell.evaluate, case.seeds.generator("targets")
    members, strangers = unique(data.private), unique(data.test)
    strangers = strangers.take((~torch.isin(strangers.id, data.private.id)).nonzero().flatten())
    if case.attack.goal is Goal.MEMBERSHIP:
        half = min(evaluate.targets // 2, len(members), len(strangers))
        both = join(some(members, half, generator), some(strangers, half, generator))
        order = torch.randperm(2 * half, generator=generator)  # neither position nor batch may tell a member
        return both.take(order.to(both.x.device)), (order < half).float()
    source = members if evaluate.targets_from == "train" else strangers
    chosen = some(source, min(evaluate.targets, len(source)), generator)
    return chosen, torch.full((len(chosen),), float(evaluate.targets_from == "train"))


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


def aux_of(case: Case, data: Data, targets: Records) -> Records:
    """The attacker's own records. No target is among them, and no patient of a target if patients are kept apart."""
    spec = case.cell.aux
    aux = data.aux if case.aux_dataset is None else _other_population(case, data)
    if spec["name"] in ("same", "none", case.cell.dataset["name"]):  # identities mean nothing between datasets
        aux = aux.take((~torch.isin(aux.id, targets.id)).nonzero().flatten())
    n, generator = spec["n"], case.seeds.generator("aux")
    return aux if n is None or n >= len(aux) else some(aux, n, generator)


def _other_population(case: Case, data: Data) -> Records:
    """All records of the dataset that the `aux` axis names, which must have the form of the victim's records."""
    spec, dataset = case.cell.aux, case.aux_dataset
    if dataset is None:
        raise ValueError("the aux axis names no other dataset")
    with unchanged():
        other = dataset.load().to(data.private.x.device)
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
