"""Members and strangers differ in nothing that the harness chooses: what is left is membership."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import splitleak
from splitleak.contract import Data, Records
from splitleak.score import metrics
from splitleak.score.per_target import auc
from splitleak.score.scene import Scene
from splitleak.score.targets import targets_of

Stage = Callable[..., Scene]
MEMBERSHIP = {"name": "toy_read_off", "goal": "membership"}


def skewed(data: Data) -> Data:
    """The same data; in the test part only a third of the records of class 0 are left."""
    first = (data.test.y == 0).nonzero().flatten()
    kept = torch.ones(len(data.test), dtype=torch.bool)
    kept[first[len(first) // 3 :]] = False
    return replace(data, test=data.test.take(kept.nonzero().flatten()))


def mix(records: Records, chosen: torch.Tensor) -> list[int]:
    return records.y[chosen].bincount(minlength=3).tolist()


@pytest.mark.parametrize("n", [24, 120])
def test_members_and_strangers_have_the_same_classes(stage: Stage, n: int) -> None:
    scene = stage(attack=MEMBERSHIP, evaluate={"targets": n})
    targets, member = targets_of(scene.case, skewed(scene.data))
    assert mix(targets, member == 1) == mix(targets, member == 0)
    assert auc((targets.y == 0).double(), member) == pytest.approx(0.5)  # the class tells nothing
    assert len(targets.id.unique()) == len(targets) <= n
    assert len(targets) >= min(n, 60)  # and not many are lost


def test_the_classes_of_targets_are_those_of_the_members_where_strangers_abound(stage: Stage) -> None:
    scene = stage(attack=MEMBERSHIP, dataset={"name": "toy_flat", "n": 34}, evaluate={"targets": 60})
    targets, member = targets_of(scene.case, scene.data)
    assert int(member.sum()) == len(targets) - int(member.sum()) == 30
    assert mix(targets, member == 1) == scene.data.private.y[:30].bincount(minlength=3).tolist()


def test_values_have_no_classes_to_match(stage: Stage) -> None:
    scene = stage(attack=MEMBERSHIP, dataset={"name": "toy_flat", "task": "value"}, evaluate={"targets": 200})
    assert int(scene.member.sum()) == len(scene.targets) / 2 == 60
    assert "auc_class" not in scene.question.score(scene.member.double())


def test_what_the_class_alone_tells_stands_in_record_and_table(run: Callable[..., list[Any]]) -> None:
    (record,) = run(attack=MEMBERSHIP, model={"name": "toy_chain", "identity": True}, cut=1)
    assert record["metrics"]["auc"] == pytest.approx(1)
    assert record["metrics"]["auc_class"] == pytest.approx(0.5)
    assert splitleak.leaderboard([record])["auc_class"].tolist() == [record["metrics"]["auc_class"]]


def test_strangers_of_other_classes_show_in_the_auc_of_the_class() -> None:
    member = torch.tensor([1, 1, 1, 0, 0, 0])
    labels = torch.tensor([0, 0, 1, 0, 1, 1])
    found = metrics.members(torch.rand(6), member, labels)
    assert found["auc_class"] == pytest.approx(6 / 9)  # 4 of 9 pairs in order, 4 tied, 1 reversed
    assert metrics.members(torch.rand(6), member, 1 - labels)["auc_class"] == pytest.approx(6 / 9)
    assert metrics.members(torch.rand(6), member, torch.zeros(6, dtype=torch.long))["auc_class"] == 0.5
