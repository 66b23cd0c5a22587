"""LeNet and perceptrons split at every cut equal the unsplit ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from splitleak.contract import Model, Protocol, Records, Shape, Task
from splitleak.models.ecg_pvc_net import ECGPVCNet
from splitleak.models.lenet import LeNet
from splitleak.models.mlp import MLP

from .splits import BATCH, CLASSES, made, plainly, splitly

SMALL = [
    (LeNet(), (1, 28, 28), CLASSES), (LeNet("sigmoid"), (3, 16, 20), Task("value", 2)), (MLP(), (1, 8, 8), CLASSES),
    (MLP((32, 24, 16)), (13,), Task("value", 1)), (MLP((8,)), (2, 40), CLASSES),
    (ECGPVCNet(), (1, 185), CLASSES), (ECGPVCNet(), (2, 6), Task("value", 2)),
]  # fmt: skip


@pytest.mark.parametrize(("model", "shape", "task"), SMALL, ids=lambda given: str(given))
def test_lenet_and_mlp_split_at_every_cut_equal_unsplit(model: Model, shape: Shape, task: Task) -> None:
    n = 3 * BATCH
    y = torch.arange(n) % task.size if task.kind == "classes" else torch.rand(n, task.size)
    records = Records(torch.rand(n, *shape), y, torch.arange(n))
    torch.manual_seed(1)
    blocks = model.blocks(shape, task)
    wanted = plainly(nn.Sequential(*blocks), records, task)
    protocols: tuple[Protocol, ...] = ("vanilla", "u_shape")
    tried = [(cut, protocol) for protocol in protocols for cut in model.cuts(protocol)]
    assert len(tried) == 2 * len(blocks) - 3  # after each block but the last; a u-shape's server keeps one
    for cut, protocol in tried:
        split = made(model, cut, protocol, shape, task)
        assert list(split.top.parameters())
        assert splitly(split, records, task).same(wanted), f"cut {cut}, {protocol}"


def test_lenet_is_the_published_one() -> None:
    shapes = [made(LeNet(), cut, "vanilla", (1, 28, 28), Task("classes", 10)).shapes((1, 28, 28))[0] for cut in
              (1, 2, 3, 4)]  # fmt: skip
    assert shapes == [(8, 12, 12), (16, 4, 4), (120,), (84,)]


def test_ecg_pvc_net_is_the_published_one() -> None:
    shapes = [made(ECGPVCNet(), cut, "vanilla", (1, 185), Task("classes", 2)).shapes((1, 185))[0] for cut in (1, 2)]
    assert shapes == [(16, 90), (128,)]
    network = ECGPVCNet().split((1, 185), Task("classes", 2), 1, "u_shape")
    assert sum(p.numel() for p in network.parameters()) == (5 + 1) * 16 + (16 * 90 + 1) * 128 + (128 + 1) * 2
