"""The loss is the task's: what each is, that a record's gradient knows nothing of its batch, and who may choose it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import BadInput, Task
from splitleak.jobs.worker import Worker
from splitleak.plan import matrix
from splitleak.plan.settings import Train
from splitleak.train import victim
from splitleak.train.step import rate_factor

TOYS = Path(__file__).parents[1] / "toys"
MASKS = ("own", "bce", "dice", "bce_dice")
Run = Callable[..., list[dict[str, Any]]]


def task(loss: str) -> Task:
    return Task("mask", 1, loss)  # type: ignore[arg-type]


def logits(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def soft(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(9))


def test_dice_of_masks_that_are_known() -> None:
    y = torch.zeros(1, 1, 4, 4)
    y[..., :2, :] = 1  # 8 of 16 pixels
    sure = 200 * y - 100
    undecided = torch.zeros_like(y)  # p = 1/2: 1 - (2 * 4 + 1) / (8 + 8 + 1)
    for prediction, wanted in ((sure, 0.0), (-sure, 1 - 1 / 17), (undecided, 8 / 17)):
        assert float(task("dice").loss(prediction, y)) == pytest.approx(wanted, abs=1e-6)
    nothing = torch.zeros_like(y)
    assert float(task("dice").loss(nothing - 100, nothing)) == pytest.approx(0)  # nothing there, nothing said
    assert float(task("dice").loss(nothing + 100, nothing)) == pytest.approx(16 / 17)


def test_dice_is_of_each_record_and_then_the_mean() -> None:
    prediction, y = logits(5, 1, 6, 6), (soft(5, 1, 6, 6) > 0.5).float()
    y[0] = 0  # an empty mask among full ones: the Dice of the whole batch would hardly see it
    each = [float(task("dice").loss(prediction[i : i + 1], y[i : i + 1])) for i in range(5)]
    assert float(task("dice").loss(prediction, y)) == pytest.approx(sum(each) / 5)
    assert float(task("dice").loss(prediction, y, "sum")) == pytest.approx(sum(each))


def test_the_gradient_of_dice_is_that_of_its_formula() -> None:
    prediction, y = logits(3, 1, 5, 5).double().requires_grad_(), soft(3, 1, 5, 5).double()
    (got,) = torch.autograd.grad(task("dice").loss(prediction, y), prediction)
    p = prediction.detach().sigmoid()
    for i in range(3):  # L = 1 - a / b: dL/dp = a / b^2 - 2 y / b; dp/dz = p (1 - p)
        a, b = 2 * (p[i] * y[i]).sum() + 1, p[i].sum() + y[i].sum() + 1
        torch.testing.assert_close(got[i], (a / b**2 - 2 * y[i] / b) * p[i] * (1 - p[i]) / 3)
    assert torch.autograd.gradcheck(lambda z: task("bce_dice").loss(z, y, "sum"), prediction)


def test_each_name_is_the_loss_that_it_says() -> None:
    prediction, y = logits(4, 1, 6, 6), soft(4, 1, 6, 6)
    bce, dice = (task(name).loss(prediction, y) for name in ("bce", "dice"))
    assert torch.equal(bce, F.binary_cross_entropy_with_logits(prediction, y))
    for name in ("own", "bce_dice"):
        assert torch.equal(task(name).loss(prediction, y), bce + dice)
    scores, labels, values = logits(4, 3), torch.tensor([0, 2, 1, 1]), logits(4, 3, seed=1)
    assert torch.equal(Task("classes", 3).loss(scores, labels), F.cross_entropy(scores, labels))
    assert torch.equal(Task("value", 3).loss(scores, values), F.mse_loss(scores, values))


@pytest.mark.parametrize("name", MASKS)
def test_soft_and_whole_number_masks_train_too(name: str) -> None:
    prediction = logits(2, 1, 4, 4)
    hard = (soft(2, 1, 4, 4) > 0.5).long()
    assert torch.equal(task(name).loss(prediction, hard), task(name).loss(prediction, hard.float()))
    for y in (soft(2, 1, 4, 4), torch.full((2, 1, 4, 4), 0.5)):
        assert float(task(name).loss(prediction, y)) > 0


KINDS = {name: (task(name), logits(7, 1, 4, 4), soft(7, 1, 4, 4)) for name in MASKS} | {
    "classes": (Task("classes", 5), logits(7, 5), torch.arange(7) % 5),
    "value": (Task("value", 3), logits(7, 3), soft(7, 3)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_sum_a_records_gradient_is_the_same_whatever_its_batch(kind: str) -> None:
    what, prediction, y = KINDS[kind]

    def gradient(index: list[int], reduction: str) -> Tensor:
        z = prediction[index].clone().requires_grad_()
        return torch.autograd.grad(what.loss(z, y[index], reduction), z)[0]

    alone = torch.cat([gradient([i], "mean") for i in range(7)])
    for index in ([0], [3, 1], [6, 5, 4], list(range(7))):
        own = torch.cat([gradient([i], "sum") for i in index])
        torch.testing.assert_close(gradient(index, "sum"), own, rtol=1e-6, atol=1e-8)  # a sigmoid's last bit, at most
    torch.testing.assert_close(gradient(list(range(7)), "sum"), alone)  # and it is the record's own
    torch.testing.assert_close(gradient(list(range(7)), "mean"), alone / 7)


@pytest.mark.parametrize("name", ["bce", "dice", "bce_dice"])
def test_a_loss_for_masks_is_refused_where_there_are_none(run: Run, name: str, tmp_path: Any) -> None:
    with pytest.raises(BadInput, match=rf"loss '{name}'.*masks.*toy_flat.*'classes' \(legal: own\)"):
        run(attack="blind", train={"loss": name})
    assert not list(tmp_path.glob("out/victims/*"))


def test_an_unknown_loss_is_refused(run: Run) -> None:
    with pytest.raises(BadInput, match=r"\[train\]: loss: must be 'own', 'bce', 'dice' or 'bce_dice', not 'jaccard'"):
        run(dataset="toy_images", model="toy_skips", attack="blind", train={"loss": "jaccard"})


def test_the_loss_of_a_cell_is_the_one_of_its_task_everywhere(stage: Callable[..., Any]) -> None:
    prints = {}
    for name in MASKS:
        scene = stage(dataset="toy_images", model="toy_skips", attack="blind", train={"loss": name})
        assert scene.data.task == scene.question.task == task(name)
        prints[name] = scene.kept.facts.fingerprint
    assert len(set(prints.values())) == 3
    assert prints["own"] == prints["bce_dice"]


def test_a_worker_asked_for_two_losses_gives_each_cell_its_own(tmp_path: Any) -> None:
    worker = Worker(tmp_path, TOYS, "cpu")
    axes = {"dataset": ["./toy_images.py"], "model": ["./toy_skips.py"]}
    for name in ("dice", "bce", "own"):
        (cell,) = matrix.read({"matrix": axes, "train": {"loss": name}}, TOYS).cells
        assert worker.data(worker.case(cell)).task.objective == name
        assert victim.fresh(worker.case(cell), worker.data(worker.case(cell))).data.task.objective == name


def test_the_cosine_schedule_starts_whole_falls_each_epoch_and_never_stands_still() -> None:
    settings = Train(epochs=15, schedule="cosine")
    rates = [rate_factor(settings, epoch) for epoch in range(15)]
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 14 / 15)))  # 0.011
    assert rate_factor(settings, 40) == rates[-1]  # a hijacker may pull on past the last epoch
    assert rate_factor(Train(epochs=1, schedule="cosine"), 0) == 1
