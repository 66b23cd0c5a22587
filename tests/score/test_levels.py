"""Levels to read a reconstruction against: retrieval from auxiliary records, and what empty guesses re-identify."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import splitleak
from splitleak.contract import Goal, Records, Task
from splitleak.pieces.distances import nearest
from splitleak.score import levels
from splitleak.score.floor import Floor
from splitleak.score.question import Question
from splitleak.score.similarity import reid_top1

LEVELS = {"nearest_aux", "reid_strangers", "reid_chance", "class_mean"}


def question(truth: Tensor, group: Tensor | None = None) -> Question:
    n = len(truth)
    records = Records(truth, torch.zeros(n, dtype=torch.long), torch.arange(n))
    floor = Floor(truth.double().mean(0).expand_as(truth), "mean record")
    return Question(Goal.INPUTS, Task("classes", 2), (0.0, 1.0), records, truth.double(), floor, torch.arange(n), group)


def test_the_nearest_record_is_the_one_of_least_squared_error() -> None:
    for shape in ((5,), (1, 40), (2, 9, 9)):
        truth, records = torch.rand(30, *shape), torch.rand(70, *shape)
        by_hand = torch.stack([(records - t).square().flatten(1).sum(1).argmin() for t in truth])
        assert nearest(truth, records).equal(by_hand)


def test_nearest_aux_is_the_advantage_of_a_guess_that_retrieves() -> None:
    truth, aux = torch.rand(40, 1, 12), torch.rand(90, 1, 12)
    asked = question(truth)
    retrieved = aux[torch.cdist(truth.flatten(1), aux.flatten(1)).argmin(1)]
    wanted = asked.score(asked.check(retrieved, "retrieval"))["advantage"]
    assert levels.nearest_aux(asked, aux) == pytest.approx(wanted)
    assert levels.nearest_aux(asked, torch.cat([aux, truth])) == 1  # an exact copy is the best retrieval
    close = torch.cat([aux, truth + 0.01])
    assert levels.nearest_aux(asked, close) == pytest.approx(1 - 1e-4 * 40 / sum_of_floor(asked), abs=1e-4)


def sum_of_floor(asked: Question) -> float:
    return float((asked.truth - asked.floor.guess).square().flatten(1).mean(1).sum())


def test_strangers_alone_are_re_identified_by_chance_but_matched_in_sets_far_more_often() -> None:
    truth, others = torch.rand(64, 12), torch.rand(500, 12)
    alone, together = question(truth), question(truth, torch.zeros(64, dtype=torch.long))
    assert levels.reid_strangers(alone, others, 1) < 4 / 64
    level = levels.reid_strangers(together, others, 1)
    assert level > 10 / 64
    drawn = [reid_top1(together.check(torch.rand(64, 12), "a"), truth.double()) for _ in range(10)]  # same population
    assert level == pytest.approx(sum(drawn) / 10, abs=0.1)


def test_noise_is_matched_too_and_the_strongest_empty_guess_is_the_level() -> None:
    """Records near one point: a stranger is as near to many of them, loud noise is matched better."""
    truth, others = 0.5 + 0.01 * torch.randn(64, 2), 0.5 + 0.01 * torch.randn(500, 2)
    asked = question(truth, torch.zeros(64, dtype=torch.long))
    assert levels.reid_noise(asked, others, 1) > 4 / 64
    assert levels.reid_noise(replace(asked, group=None), others, 1) < 4 / 64


@pytest.mark.slow
def test_a_class_mean_names_one_record_of_each_class_and_that_is_chance_too(run: Callable[..., list[Any]]) -> None:
    attacks = ["blind", "toy_read_off"]  # whose threat holds the labels
    blind, other = run(attack=attacks, protocol="vanilla", train={"epochs": 1})
    assert blind["floor"] == "class mean"
    assert blind["metrics"]["reid_top1"] > 1 / 64  # a guess for each class, nearest to one of its records
    assert blind["metrics"]["reid_chance"] >= blind["metrics"]["reid_top1"]
    assert other["metrics"]["reid_chance"] == blind["metrics"]["reid_chance"]  # whatever the attack


@pytest.mark.slow
def test_levels_stand_in_record_and_table_of_inputs_alone(run: Callable[..., list[Any]]) -> None:
    records = run(attack=["toy_read_off", {"name": "toy_read_off", "goal": "labels"}])
    found = {record["cell"]["goal"]: record for record in records}
    assert set(found["inputs"]["metrics"]) >= LEVELS
    assert not LEVELS & set(found["labels"]["metrics"])
    assert not LEVELS & set(found["inputs"]["null"]["metrics"])  # they depend on no channel
    row = splitleak.leaderboard([found["inputs"]]).iloc[0]
    assert all(row[name] == found["inputs"]["metrics"][name] for name in LEVELS)
    assert found["inputs"]["metrics"]["reid_strangers"] <= found["inputs"]["metrics"]["reid_chance"] < 6 / 64


def test_there_is_no_retrieval_without_auxiliary_records(run: Callable[..., list[Any]]) -> None:
    (record,) = run(aux="none")
    assert record["status"] == "done"
    assert "nearest_aux" not in record["metrics"]


@pytest.mark.slow
def test_retrieval_is_from_the_records_that_the_attacker_has(run: Callable[..., list[Any]]) -> None:
    many, few = run(aux=["same", {"name": "same", "n": 5}])
    assert many["metrics"]["nearest_aux"] > few["metrics"]["nearest_aux"]
