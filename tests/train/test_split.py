"""A network that is cut trains to the very bits of the same network uncut, alone or with several clients."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak.contract import Grant, Hooks, Records, Split, Task
from splitleak.models.ecg_cnn import ECGCNN
from splitleak.plan.settings import Clients, Train
from splitleak.train.loop import Training
from splitleak.train.whole import WholeTraining

SEED, EPOCHS, BATCH = 5, 1, 8
OPTIMISERS = ("adam", "sgd")
Loss = Callable[[Tensor, Tensor], Tensor]
Toy = Callable[..., Any]


def mask_loss(prediction: Tensor, y: Tensor) -> Tensor:
    """What trains on masks, written out plainly: binary cross-entropy and Dice."""
    p, t = torch.sigmoid(prediction).flatten(1), y.flatten(1)
    dice = (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
    return F.binary_cross_entropy_with_logits(prediction, y) + (1 - dice).mean()


def settings(optimizer: str) -> Train:
    return Train(EPOCHS, BATCH, 0.01, optimizer, 0.9)


def plain_optimiser(optimizer: str, parameters: Any) -> torch.optim.Optimizer:
    parameters = list(parameters)
    if optimizer == "adam":
        return torch.optim.Adam(parameters, lr=0.01, fused=True)
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, fused=True)


def batches(records: Records, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    for index in torch.randperm(len(records), generator=order).split(BATCH):
        yield records.x[index], records.y[index]


def train_plain(network: nn.Module, records: Records, loss: Loss, optimizer: str) -> None:
    """The loop of every tutorial: nothing in it knows of a cut."""
    mover, order = plain_optimiser(optimizer, network.parameters()), torch.Generator().manual_seed(SEED)
    network.train()
    for _ in range(EPOCHS):
        for x, y in batches(records, order):
            mover.zero_grad()
            loss(network(x), y).backward()
            mover.step()


def train_split(split: Split, records: Records, task: Task, optimizer: str) -> None:
    for _ in Training(split, records, task, Hooks(), settings(optimizer), Clients(), SEED).steps(Grant(0), set()):
        pass


def weights(*modules: nn.Module | None) -> list[Tensor]:
    """Weights and buffers in the order of the network; batch norm's among them."""
    return [t.clone() for m in modules if m is not None for t in m.state_dict().values()]


def whole(split: Split) -> list[Tensor]:
    return weights(split.bottom, split.top, split.head)


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def signals(n: int = 20, length: int = 16) -> Records:
    return Records(torch.rand(n, 1, length), torch.randint(0, 5, (n,)), torch.arange(n))


@pytest.mark.parametrize("optimizer", OPTIMISERS)
@pytest.mark.parametrize("layers", [2, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in range(4, 9))])
def test_ecg_cnn_split_at_every_cut_equals_unsplit(layers: int, optimizer: str) -> None:
    records, task, tried = signals(), Task("classes", 5), 0
    for top_layers, softmax_head in product((1, 2), (False, True)):
        model = ECGCNN(layers, top_layers, softmax_head)
        torch.manual_seed(1)
        network = nn.Sequential(*model.blocks((1, 16), task))
        start = weights(network)
        train_plain(network, records, F.cross_entropy, optimizer)
        wanted = weights(network)
        assert not any(torch.equal(a, b) for a, b in zip(start, wanted, strict=True))  # every tensor has moved
        for protocol in ("central", "vanilla", "u_shape"):
            for cut in model.cuts(protocol)[: 1 if protocol == "central" else None]:
                torch.manual_seed(1)
                split = model.split((1, 16), task, cut, protocol)
                if protocol == "central":
                    WholeTraining(split, records, task, settings(optimizer), SEED).run()
                else:
                    train_split(split, records, task, optimizer)
                assert same(whole(split), wanted), f"{model} {protocol} cut {cut}"
                tried += 1
    assert tried == 4 + 2 * (4 * layers - 1)  # central once, the others at every cut


@pytest.mark.parametrize("optimizer", OPTIMISERS)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_skips_that_stay_at_the_client_carry_their_gradients(toy: Toy, cut: int, optimizer: str) -> None:
    data, model = toy("dataset", "toy_images", n=20).load(), toy("model", "toy_skips")
    module = sys.modules[type(model).__module__]
    uncut = module.Whole(1)
    cuttable = copy.deepcopy(uncut)
    split = module.parts(cuttable, cut)
    assert len(split.bottom.eval()(data.private.x[:2])[1]) == cut  # a skip is kept for each level of the client
    train_plain(uncut, data.private, mask_loss, optimizer)
    train_split(split, data.private, data.task, optimizer)
    assert same(weights(cuttable), weights(uncut))


@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5])  # at 5 of a u-shape the server has no weights
@pytest.mark.parametrize("kind", ["toy_flat", "toy_images"])
def test_norm_dropout_and_layers_that_work_in_place_can_be_cut(toy: Toy, kind: str, cut: int, protocol: str) -> None:
    data, model = toy("dataset", kind).load(), toy("model", "toy_chain", dropout=0.3)
    loss = F.cross_entropy if data.task.kind == "classes" else mask_loss
    torch.manual_seed(2)
    network = nn.Sequential(*model.blocks(data.in_shape, data.task))
    torch.manual_seed(2)
    split = model.split(data.in_shape, data.task, cut, protocol)
    torch.manual_seed(3)
    train_plain(network, data.private, loss, "adam")
    torch.manual_seed(3)
    train_split(split, data.private, data.task, "adam")
    assert same(whole(split), weights(network))


@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
def test_a_client_without_weights_can_send_its_records(toy: Toy, protocol: str) -> None:
    data, model = toy("dataset", "toy_flat").load(), toy("model", "toy_chain", identity=True)
    torch.manual_seed(2)
    network = nn.Sequential(*model.blocks(data.in_shape, data.task))
    torch.manual_seed(2)
    split = model.split(data.in_shape, data.task, 1, protocol)
    train_plain(network, data.private, F.cross_entropy, "adam")
    train_split(split, data.private, data.task, "adam")
    assert same(whole(split), weights(network))
