"""Scores over people: pairs of records, and intervals that resample people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from splitleak.contract import BadGuess, BadInput, Goal, Task
from splitleak.pieces.pairs import cosines, linkage_auc, one_person
from splitleak.score import metrics
from splitleak.score.floor import Floor
from splitleak.score.people import Scored, linkage
from splitleak.score.question import Question
from splitleak.score.scene import Scene
from splitleak.score.targets import unique

Stage = Callable[..., Scene]
PEOPLE = torch.arange(12).repeat_interleave(5)  # 12 people with 5 records each


def test_who_tells_people_apart_has_1_and_a_constant_or_noise_half() -> None:
    assert linkage_auc(torch.eye(12)[PEOPLE], PEOPLE) == 1
    assert linkage_auc(-torch.eye(12)[PEOPLE], PEOPLE) == 1  # a cosine knows no sign of both
    assert linkage_auc(torch.zeros(60, 3), PEOPLE) == 0.5
    assert linkage_auc(torch.randn(60, 40), PEOPLE) == pytest.approx(0.5, abs=0.1)


def test_the_auc_is_that_of_the_library_over_all_pairs_each_once_and_none_with_itself() -> None:
    z = torch.randn(60, 4) + 0.5 * torch.randn(12, 4)[PEOPLE]
    unit = torch.nn.functional.normalize(z.double(), dim=1)
    found = [(float(unit[i] @ unit[j]), bool(PEOPLE[i] == PEOPLE[j])) for i in range(60) for j in range(i)]
    scores, same = zip(*found, strict=True)
    assert len(cosines(z)) == len(one_person(PEOPLE)) == 60 * 59 // 2
    assert linkage_auc(z, PEOPLE) == pytest.approx(roc_auc_score(same, scores))
    assert linkage(z, PEOPLE, None)["auc"] == pytest.approx(roc_auc_score(same, scores))


def test_the_class_alone_links_where_people_have_classes_of_their_own() -> None:
    z = torch.randn(60, 4)
    assert linkage(z, PEOPLE, PEOPLE)["auc_class"] == 1
    assert linkage(z, PEOPLE, torch.zeros(60, dtype=torch.long))["auc_class"] == 0.5
    assert "auc_class" not in linkage(z, PEOPLE, None)


def test_more_records_of_the_same_people_make_no_interval_shorter() -> None:
    """A person's records are copies here: ten times as many tell nothing new, and targets as units would say so."""
    yes, score = torch.arange(12) % 2, torch.randn(12)

    def widths(copies: int) -> list[float]:
        person = torch.arange(12).repeat_interleave(copies)
        z = torch.stack([score, torch.ones(12)], 1)[person]
        z = z + 0.3 * torch.randn(len(z), 2, generator=torch.Generator().manual_seed(1))
        rng = [np.random.default_rng(0) for _ in range(2)]
        return [Scored.records(score[person], yes[person], person).ci95(rng[0]), Scored.pairs(z, person).ci95(rng[1])]

    few, many = widths(2), widths(20)
    assert many[0] == pytest.approx(few[0], rel=0.02)
    assert many[0] > 0.3  # 12 people are few
    assert many[1] > 0.5 * few[1]


@pytest.mark.slow
def test_an_interval_over_people_is_that_of_records_where_each_record_is_a_person() -> None:
    yes, score = torch.arange(200) % 2, torch.randn(200) + torch.arange(200) % 2
    scored = Scored.records(score, yes, torch.arange(200))
    generator, areas = np.random.default_rng(0), []
    for _ in range(400):
        rows = generator.integers(200, size=200)
        areas.append(2 * roc_auc_score(yes[rows], score[rows]) - 1)
    low, high = np.quantile(areas, (0.025, 0.975))
    assert scored.ci95(np.random.default_rng(1), 400) == pytest.approx((high - low) / 2, rel=0.2)


def question(scene: Scene, goal: Goal) -> Question:
    targets = unique(scene.data.private)
    truth = targets.group if goal is Goal.LINKAGE else targets.property
    assert truth is not None
    floor = Floor(torch.zeros(len(targets)), "coin")
    return Question(goal, Task("classes", 3), (0.0, 1.0), targets, truth, floor, torch.arange(len(targets)))


def test_an_embedding_has_any_number_of_columns_but_a_row_for_each_target(stage: Stage) -> None:
    asked = question(stage(), Goal.LINKAGE)
    n = len(asked.targets)
    for columns in (1, 7):
        assert asked.check(torch.ones(n, columns), "attack 'a'").shape == (n, columns)
    for wrong in (torch.ones(n), torch.ones(n, 0), torch.ones(n - 1, 4), torch.ones(n, 2, 2)):
        with pytest.raises(
            BadGuess, match=r"attack 'a': guess has shape .*, goal LINKAGE needs \(64, D\) with D from 1"
        ):
            asked.check(wrong, "attack 'a'")


def test_linkage_on_the_null_channel_is_noticed_and_noise_is_not(stage: Stage) -> None:
    asked = question(stage(), Goal.LINKAGE)
    leaked = torch.eye(9)[asked.truth]
    assert asked.score(leaked)["advantage"] == 1
    assert asked.null_leaks(leaked, 1.0, 0)[0]
    assert not asked.null_leaks(torch.randn(len(leaked), 9), 0.0, 0)[0]


def test_the_interval_of_a_property_is_over_people_and_over_targets_where_they_are_unknown(stage: Stage) -> None:
    asked = question(stage(), Goal.PROPERTY)
    guess = torch.randn(len(asked.targets), dtype=torch.double)
    person = torch.arange(len(guess)) % 4
    whose = replace(asked, truth=(person < 2).long(), targets=replace(asked.targets, group=person))
    unknown = replace(whose, targets=replace(asked.targets, group=None))
    biased = guess + 2 * (person % 2)  # two people score high, one of each answer
    assert whose.ci95(biased, 0) > 2 * unknown.ci95(biased, 0)


def test_accuracy_counts_from_the_usual_answer() -> None:
    truth = torch.tensor([1, 1, 1, 0])
    assert metrics.properties(truth - 0.5, truth, None)["accuracy_gain"] == 0.25
    assert metrics.properties(torch.ones(4), truth, None)["accuracy_gain"] == 0
    assert metrics.properties(-torch.ones(4), truth, None)["accuracy_gain"] == -0.5


@pytest.mark.parametrize("person", [torch.zeros(8, dtype=torch.long), torch.arange(8)])
def test_targets_of_one_person_or_all_of_different_ones_are_refused_in_a_line(person: torch.Tensor) -> None:
    with pytest.raises(BadInput, match="goal LINKAGE needs targets of two people or more, of one of them two records"):
        linkage(torch.randn(8, 2), person, None)


def test_targets_of_linkage_are_no_copies_of_each_other(stage: Stage) -> None:
    scene = stage(attack={"name": "blind", "goal": "linkage"})
    assert len(scene.data.private) > len(scene.targets)
    assert len(scene.targets.id.unique()) == len(scene.targets)


def test_the_blind_embedding_is_at_the_floor_from_matrix_to_record(run: Callable[..., list[dict[str, Any]]]) -> None:
    (record,) = run(attack={"name": "blind", "goal": "linkage"})
    assert record["status"] == "done", record.get("traceback")
    assert record["metrics"]["advantage"] == 0
    assert record["people"] == 9
    assert record["null"]["leaks"] is False
