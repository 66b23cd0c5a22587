"""The synthetic images have what a substitute for X-rays and retinal photographs must have."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from splitleak.contract import Data, Records, Task
from splitleak.datasets.cxr_synthetic import CXRSynthetic
from splitleak.datasets.fundus_synthetic import FundusSynthetic

MASKS, OPACITY = CXRSynthetic(n=400), CXRSynthetic(n=400, task="classes")
REFERABLE, GRADES = FundusSynthetic(n=400), FundusSynthetic(n=400, classes="all")
LEAST = [CXRSynthetic(n=60), CXRSynthetic(n=60, task="classes"), FundusSynthetic(n=100)]
EVERY = [MASKS, OPACITY, REFERABLE, GRADES, *LEAST, FundusSynthetic(n=100, classes="all")]
Phantom = CXRSynthetic | FundusSynthetic


@cache
def load(dataset: Phantom) -> Data:
    return dataset.load()


def parts(data: Data) -> tuple[Records, Records, Records]:
    return data.private, data.aux, data.test


def groups(records: Records) -> Tensor:
    assert records.group is not None
    return records.group


def everything(data: Data) -> Tensor:
    """All pictures in the order in which they were drawn."""
    x, order = torch.cat([p.x for p in parts(data)]), torch.cat([p.id for p in parts(data)])
    return x[order.argsort()]


@pytest.mark.parametrize("dataset", EVERY, ids=str)
def test_patients_are_in_one_part_and_pictures_are_counted_once(dataset: Phantom) -> None:
    data = load(dataset)
    assert data.flags == ()
    assert torch.cat([p.id for p in parts(data)]).sort().values.tolist() == list(range(dataset.n))
    for one, other in combinations(parts(data), 2):
        assert not torch.isin(groups(one), groups(other)).any()
    shares = [len(p) / dataset.n for p in parts(data)]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.04 if dataset.n >= 400 else 0.12)


@pytest.mark.parametrize("dataset", EVERY, ids=str)
def test_values_are_in_range_and_every_class_is_in_every_part(dataset: Phantom) -> None:
    data = load(dataset)
    assert data.in_shape == ((1 if isinstance(dataset, CXRSynthetic) else 3), 64, 64)
    for part in parts(data):
        assert part.x.dtype == torch.float32
        assert 0 <= part.x.min() <= part.x.max() <= 1
        if data.task.kind == "classes":
            assert part.y.unique().tolist() == list(range(data.task.size))
        else:
            assert part.y.shape == part.x.shape
            assert part.y.unique().tolist() == [0, 1]


@pytest.mark.parametrize("dataset", [MASKS, GRADES], ids=str)
def test_the_same_pictures_each_time_whatever_the_global_random_state(dataset: Phantom) -> None:
    torch.manual_seed(7)
    np.random.seed(7)
    state = torch.get_rng_state()
    for one, other in zip(parts(load(dataset)), parts(dataset.load()), strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("dataset", LEAST, ids=str)
@pytest.mark.parametrize("size", [16, 28, 96])
def test_the_same_people_come_out_at_every_size(dataset: Phantom, size: int) -> None:
    here, there = everything(load(dataset)), everything(replace(dataset, size=size).load())
    assert there.shape == (dataset.n, here.shape[1], size, size)
    small = [F.interpolate(x, (16, 16), mode="area") for x in (here, there)]
    apart = (small[0] - small[1]).square().mean()
    assert apart < 0.1 * (small[0] - small[0].roll(1, 0)).square().mean()  # of the one before


def test_both_tasks_are_on_the_same_x_rays() -> None:
    masks, classes = load(MASKS), load(OPACITY)
    assert (masks.task, classes.task) == (Task("mask", 1), Task("classes", 2))
    assert torch.equal(everything(masks), everything(classes))


def test_lungs_are_darker_than_what_is_around_them() -> None:
    for part in parts(load(MASKS)):
        inside = (part.x * part.y).sum((1, 2, 3)) / part.y.sum((1, 2, 3))
        outside = (part.x * (1 - part.y)).sum((1, 2, 3)) / (1 - part.y).sum((1, 2, 3))
        assert (inside < outside).float().mean() > 0.95
        area = part.y.mean((1, 2, 3))
        assert 0.08 < area.min() < 0.8 * area.max() < 0.5


def test_an_opacity_lightens_the_lungs_but_exposure_hides_it() -> None:
    data, masks = load(OPACITY).private, load(MASKS).private.y
    lung = (data.x * masks).sum((1, 2, 3)) / masks.sum((1, 2, 3))
    for value, least, most in ((lung, 0.2, 1.5), (data.x.mean((1, 2, 3)), 0.0, 0.7)):
        ill, well = value[data.y == 1], value[data.y == 0]
        assert least < (ill.mean() - well.mean()) / value.std() < most


@pytest.mark.parametrize(("dataset", "most"), [(MASKS, 18.0), (REFERABLE, 21.0), (GRADES, 21.0)], ids=str)
def test_mean_image_is_no_good_guess(dataset: Phantom, most: float) -> None:
    data = load(dataset)
    error = (data.test.x - data.aux.x.mean(0)).square().mean((1, 2, 3))
    assert 14 < (-10 * error.log10()).mean() < most  # real: 17.2 dB for X-rays, 22.9 dB for retinas


def test_mean_mask_is_no_good_guess() -> None:
    data = load(MASKS)
    guess, truth = data.aux.y.mean(0) > 0.5, data.test.y > 0.5
    overlap = (guess & truth).sum((1, 2, 3)) / (guess | truth).sum((1, 2, 3))
    assert 0.5 < overlap.mean() < 0.8  # real: 0.722


@pytest.mark.parametrize("dataset", [MASKS, GRADES], ids=str)
def test_pictures_of_one_patient_are_alike_but_not_the_same(dataset: Phantom) -> None:
    part = load(dataset).private
    x = part.x.flatten(1)
    if dataset is GRADES:  # the other eye is a mirror image
        x = torch.where((part.id % 2 == 1)[:, None], part.x.flip(3).flatten(1), x)
    apart, same = torch.cdist(x, x), groups(part)[:, None] == groups(part)
    off = ~torch.eye(len(x), dtype=torch.bool)
    assert apart[off].min() > 0.5
    assert apart[same & off].mean() < 0.9 * apart[~same].mean()


def test_eyes_of_a_patient_have_grades_side_by_side() -> None:
    data = load(GRADES)
    grade = torch.cat([p.y for p in parts(data)])[torch.cat([p.id for p in parts(data)]).argsort()]
    apart = (grade[::2] - grade[1::2]).abs()
    assert apart.max() == 1
    assert 0.02 < apart.float().mean() < 0.3


def test_lesions_grow_with_the_grade() -> None:
    part = load(GRADES).private
    green = part.x[:, 1]
    fine = (green - F.avg_pool2d(green[:, None], 5, 1, 2)[:, 0])[:, 20:44, 20:44]  # the middle, far from the rim
    rough = (fine.square().mean((1, 2)) / green.mean((1, 2)).square()).sqrt()
    by_grade = torch.stack([rough[part.y == k].median() for k in range(5)])
    assert (by_grade[2:] > by_grade[:2].max()).all()
    assert by_grade[3] > by_grade[2]


@pytest.mark.parametrize(
    ("cls", "given", "said"),
    [
        (CXRSynthetic, '{"size": 15}', "greater than or equal to 16"),
        (CXRSynthetic, '{"n": 5}', "greater than or equal to 60"),
        (CXRSynthetic, '{"task": "value"}', "'mask' or 'classes'"),
        (FundusSynthetic, '{"n": 99}', "greater than or equal to 100"),
        (FundusSynthetic, '{"classes": "three"}', "'binary' or 'all'"),
    ],
)
def test_illegal_parameters_are_refused(cls: Any, given: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TypeAdapter(cls).validate_json(given)
