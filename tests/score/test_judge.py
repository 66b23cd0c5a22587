"""The judge learns from auxiliary records alone: private and test records do not change one of its bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from splitleak.contract import Data
from splitleak.score import judge
from splitleak.store import Store


@pytest.fixture
def data(toy: Any) -> Data:
    found: Data = toy("dataset", "toy_signals").load()
    return found


def judged(folder: Path, data: Data) -> list[Tensor]:
    """The weights of a judge that is trained anew."""
    return list(judge.judge_of(Store(folder), data, "toy").state_dict().values())


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(map(torch.equal, one, other))


@pytest.mark.parametrize("part", ["private", "test"])
def test_private_and_test_records_do_not_reach_the_judge(tmp_path: Path, data: Data, part: str) -> None:
    records = getattr(data, part)
    other = replace(data, **{part: replace(records, x=records.x.flip(-1), y=1 - records.y)})
    assert same(judged(tmp_path / "one", data), judged(tmp_path / "other", other))


def test_auxiliary_records_do(tmp_path: Path, data: Data) -> None:
    other = replace(data, aux=replace(data.aux, y=1 - data.aux.y))
    assert not same(judged(tmp_path / "one", data), judged(tmp_path / "other", other))


def test_the_judge_believes_the_auxiliary_labels_where_the_private_ones_contradict_them(
    tmp_path: Path, data: Data
) -> None:
    turned = replace(data, private=replace(data.private, y=1 - data.private.y))
    network = judge.judge_of(Store(tmp_path), turned, "toy")
    assert judge.accuracy(network, data.test.x, data.test) > 0.9
