"""Utility of a victim with its defence active: on the whole test part, for each client, and of a constant answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from splitleak.contract import BadInput, Records, Split, Task
from splitleak.plan.seeds import Stream
from splitleak.plan.settings import Clients
from splitleak.score import task_metrics
from splitleak.score.channel import filled
from splitleak.train.division import divide
from splitleak.train.party import Party
from splitleak.train.victim import Victim


def predict(victim: Victim, split: Split, x: Tensor) -> Tensor:
    """The prediction for x (n, *in) with the defence active, in batches of the training's size."""
    parts = []
    with Stream(victim.recipe.seeds.of("utility")), torch.no_grad():
        for index, n in filled(len(x), victim.recipe.train.batch_size):
            z, kept = split.bottom(x[index])
            out = split.top(victim.live.smash(z) if victim.cut else z)
            parts.append((out if split.head is None else split.head(out, kept))[:n])
    return torch.cat(parts)


def on_test(victim: Victim) -> tuple[str, float]:
    """Accuracy, or what the task has, on the test part."""
    test = victim.data.test
    return task_metrics.utility(predict(victim, victim.split, test.x), test.y, victim.data.task)


def facts(victim: Victim) -> dict[str, Any]:
    """The utility for the record, with the other measures of the task, all from one prediction."""
    test, task = victim.data.test, victim.data.task
    prediction = predict(victim, victim.split, test.x)
    name, value = task_metrics.utility(prediction, test.y, task)
    also = task_metrics.utility_also(prediction, test.y, task)
    return {"utility_metric": name, "utility": value, "utility_also": also}


def by_client(victim: Victim, parties: list[Party]) -> list[dict[str, Any]]:
    """The utility of each client's final parts, with the one top, on its share of the test part.

    The test part is divided by the rule of the private part; with fewer test patients than clients, record by record.
    records: how many it trained on; n: how many it is tested on. utility is None where it is undefined, such as the r2
    of a single record.
    """
    recipe, data = victim.recipe, victim.data
    shares = shares_of_test(data.test, recipe.clients, data.task, recipe.seeds.order)
    results = []
    for party, share in zip(parties, shares, strict=True):
        value = None
        if share is not None:
            prediction = predict(victim, party.split, share.x)
            try:
                value = task_metrics.utility(prediction, share.y, victim.data.task)[1]
            except BadInput:  # all values of the share are equal
                value = None
        results.append({"utility": value, "n": 0 if share is None else len(share), "records": len(party.records)})
    return results


def shares_of_test(test: Records, clients: Clients, task: Task, seed: int) -> list[Records] | list[None]:
    """The share of each client of the test part; None for all if there are too few records."""
    for records in (test, replace(test, group=None)):
        try:
            return divide(records, clients, task, seed, least=1)
        except BadInput:  # too few patients, then too few records
            continue
    return [None] * clients.n


def floor(victim: Victim) -> float:
    """The utility of a constant answer: the majority class, the mask that fits most, the mean value."""
    private, test, task = victim.data.private, victim.data.test, victim.data.task
    constant = task.constant(private.y)
    if task.kind == "classes":
        constant = torch.nn.functional.one_hot(constant, task.size).float()
    elif task.kind == "mask":
        constant = constant - 0.5  # as a logit: above 0 is inside
    return task_metrics.utility(constant.expand(len(test), *constant.shape), test.y, task)[1]
