"""Guesses of records that were sent together are matched within their update."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import Goal, Grant, Records, Task
from splitleak.score.floor import floor_of
from splitleak.score.question import Question
from splitleak.train.federation import NOTED

from .federations import SGD, Stage, fed


def question(n: int, groups: Tensor | None, goal: Goal = Goal.INPUTS) -> Question:
    torch.manual_seed(1)
    x, y = torch.rand(n, 5), torch.arange(n) % 3
    records, aux = Records(x, y, torch.arange(n)), Records(torch.rand(200, 5), torch.arange(200) % 3, torch.arange(200))
    task = Task("classes", 3)
    floor = floor_of(goal, task, aux, records, Grant(0), groups)
    truth = x.double() if goal is Goal.INPUTS else y
    return Question(goal, task, (0.0, 1.0), records, truth, floor, torch.arange(n), groups)


def test_a_guess_is_matched_within_its_update_and_not_beyond() -> None:
    asked = question(8, torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
    within, beyond = torch.tensor([2, 3, 0, 1, 7, 6, 5, 4]), torch.tensor([4, 1, 2, 3, 0, 5, 6, 7])
    perfect = asked.score(asked.check(asked.truth[within], "a"))
    assert perfect["advantage"] == pytest.approx(1)
    assert asked.score(asked.check(asked.truth[beyond], "a"))["advantage"] < 0.9
    assert asked.score(replace(asked, group=None).check(asked.truth[within], "a"))["advantage"] < 0.5


def test_labels_are_matched_within_their_update_too() -> None:
    asked = question(6, torch.tensor([0, 0, 0, 1, 1, 1]), Goal.LABELS)
    said = F.one_hot(torch.tensor([2, 0, 1, 1, 2, 0]), 3).double()
    assert asked.check(said, "a").argmax(1).equal(asked.truth)


@pytest.mark.parametrize(("n", "kind"), [(1, "mean record"), (150, "centroids")])
def test_where_many_are_sent_together_centroids_are_the_better_blind_guess(n: int, kind: str) -> None:
    sets = torch.arange(150) // n
    asked, alone = question(150, sets), question(150, None)
    assert asked.floor.kind == kind
    assert asked.score(asked.check(asked.floor.guess, "blind"))["advantage"] == pytest.approx(0, abs=1e-9)
    assert (asked.score(alone.floor.guess)["advantage"] < -0.1) is (n > 1)  # the mean record


@pytest.mark.parametrize("size", [2, 8, 40])
def test_no_empty_guess_beats_the_floor_of_a_set(size: int) -> None:
    asked = question(120, torch.arange(120) // size)
    torch.manual_seed(2)
    drawn, middle = torch.rand(120, 5), torch.full((120, 5), 0.5)
    tries = [torch.lerp(middle, drawn, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    tries += [torch.stack([torch.rand(120, 5) for _ in range(3)]).mean(0), asked.truth.mean(0).expand(120, 5)]
    assert max(asked.score(asked.check(guess, "empty"))["advantage"] for guess in tries) < 0.01


def test_the_floor_of_labels_that_are_sent_together_is_the_class_mix() -> None:
    asked = question(60, torch.arange(60) // 20, Goal.LABELS)
    assert asked.floor.kind == "class mix"
    assert asked.score(asked.check(F.one_hot(torch.arange(60) % 3, 3).double(), "a"))["floor"] > 0.9


def test_targets_are_the_first_updates_records_each_once(stage: Stage) -> None:
    scene = stage(
        protocol=fed(rounds=9, local_steps=1, batch_size=4),
        clients=2,
        train=SGD,
        attack="blind",
        evaluate={"targets": 18},
    )
    assert len(scene.targets) == 18 == len(scene.targets.id.unique())
    assert max(scene.group.bincount().tolist()) == 4
    assert scene.group.bincount()[:2].tolist() == [4, 4]
    private = scene.data.private
    for k, (number, client) in enumerate(scene.senders):
        rows = next(rows for r, c, rows in scene.kept.facts.learned.sent if (r, c) == (number, client))
        assert set(scene.targets.id[scene.group == k].tolist()) <= set(private.id[rows].tolist())
    assert sum(len(rows) for _, _, rows in scene.kept.facts.learned.sent) < NOTED + 1000
