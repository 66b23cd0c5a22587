"""Several clients, in turn or side by side, against the same protocols written out plainly."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak.contract import BadInput, Grant, Hooks, Records, Split
from splitleak.settings import Clients, Train
from splitleak.training import Training, average, divide

SEED, EPOCHS, BATCH = 5, 3, 8
TRAIN = Train(EPOCHS, BATCH, 0.01)
BCE = F.binary_cross_entropy_with_logits
Toy = Callable[..., Any]


@pytest.fixture
def skips(toy: Toy) -> tuple[Any, Split]:
    """Images of patients, and a u-shaped network with skips and batch norm, cut after its second level."""
    data = toy("dataset", "toy_images", n=30).load()
    torch.manual_seed(4)
    return data, toy("model", "toy_skips").split(data.in_shape, data.task, 2, "u_shape")


def trained(data: Any, split: Split, n: int, mode: str) -> tuple[Split, list[int]]:
    """The harness's own training: what it leaves in a copy of `split`, and whose turn each step was."""
    split = copy.deepcopy(split)
    training = Training(split, data.private, data.task, Hooks(), TRAIN, Clients(n, mode), SEED)
    return split, [step.client for step in training.steps(Grant(0), set())]


def batches(part: Records, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    for index in torch.randperm(len(part), generator=order).split(BATCH):
        yield part.x[index], part.y[index]


def adam(*modules: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for m in modules for p in m.parameters()], lr=0.01, fused=True)


def step(split: Split, movers: list[torch.optim.Optimizer], x: Tensor, y: Tensor) -> None:
    split.zero_grad()
    BCE(split(x), y).backward()  # the network as if it were never cut
    for mover in movers:
        mover.step()


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def uneven(data: Any) -> list[Records]:
    parts = divide(data.private, 2, SEED)
    assert {len(part) for part in parts} == {15}
    return parts


def test_clients_in_turn_hand_on_weights_and_buffers_but_not_their_optimiser(skips: tuple[Any, Split]) -> None:
    data, start = skips
    parts, plain = divide(data.private, 2, SEED), copy.deepcopy(start).train()
    server = adam(plain.top)
    own = [adam(plain.bottom, plain.head) for _ in parts]  # the same weights, moved by two optimisers in turn
    orders = [torch.Generator().manual_seed(SEED + i) for i in range(2)]
    for _ in range(EPOCHS):
        for part, mover, order in zip(parts, own, orders, strict=True):
            for x, y in batches(part, order):
                step(plain, [server, mover], x, y)
    got, turns = trained(data, start, 2, "sequential")
    assert equal(got, plain)
    assert turns == ([0, 0, 1, 1] * EPOCHS)


def test_one_optimiser_handed_on_would_have_given_other_weights(skips: tuple[Any, Split]) -> None:
    data, start = skips
    parts, plain = divide(data.private, 2, SEED), copy.deepcopy(start).train()
    movers = [adam(plain.top), adam(plain.bottom, plain.head)]
    orders = [torch.Generator().manual_seed(SEED + i) for i in range(2)]
    for _ in range(EPOCHS):
        for part, order in zip(parts, orders, strict=True):
            for x, y in batches(part, order):
                step(plain, movers, x, y)
    assert not equal(trained(data, start, 2, "sequential")[0], plain)


def test_parallel_clients_share_a_top_and_are_averaged_by_records_each_epoch(skips: tuple[Any, Split]) -> None:
    data, start = skips
    data = copy.copy(data)
    keep = torch.arange(len(data.private)) < 27  # nine patients: parts of 15 and 12 records, two batches each
    object.__setattr__(data, "private", data.private.take(keep.nonzero().flatten()))
    parts = divide(data.private, 2, SEED)
    sizes = [len(part) for part in parts]
    assert sizes == [15, 12]
    top = copy.deepcopy(start.top)
    nets = [Split(copy.deepcopy(start.bottom), top, copy.deepcopy(start.head)).train() for _ in parts]
    server, own = adam(top), [adam(net.bottom, net.head) for net in nets]
    orders = [torch.Generator().manual_seed(SEED + i) for i in range(2)]
    for _ in range(EPOCHS):
        feeds = [list(batches(part, order)) for part, order in zip(parts, orders, strict=True)]
        for turn in zip(*feeds, strict=True):
            for net, mover, (x, y) in zip(nets, own, turn, strict=True):
                step(net, [server, mover], x, y)
        for pair in (("bottom", "bottom"), ("head", "head")):
            states = [getattr(net, name).state_dict() for net, name in zip(nets, pair, strict=True)]
            for a, b in zip(*(state.values() for state in states), strict=True):
                mean = (sizes[0] * a.double() + sizes[1] * b.double()) / sum(sizes)
                a.copy_(mean), b.copy_(mean)
    got, turns = trained(data, start, 2, "parallel")
    assert turns == [0, 1, 0, 1] * EPOCHS
    assert equal(got.top, top)
    assert equal(got.bottom, nets[0].bottom)
    assert equal(got.head, nets[1].head)


def test_a_parallel_client_with_more_batches_goes_on_alone(toy: Toy) -> None:
    data = toy("dataset", "toy_flat").load()
    split = toy("model", "toy_chain").split(data.in_shape, data.task, 2, "vanilla")
    groups = torch.where(torch.arange(len(data.private)) < 50, 0, 1)
    object.__setattr__(data.private, "group", groups)
    _, turns = trained(data, split, 2, "parallel")
    assert turns == [0, 1, 0, 1, 0, 1, 0, 0, 0, 0] * EPOCHS  # 50 records are seven batches, 18 are three


@pytest.mark.parametrize("mode", ["parallel", "sequential"])
def test_one_client_is_plain_split_learning_in_either_mode(skips: tuple[Any, Split], mode: str) -> None:
    data, start = skips
    plain = copy.deepcopy(start).train()
    movers, order = [adam(plain.top), adam(plain.bottom, plain.head)], torch.Generator().manual_seed(SEED)
    for _ in range(EPOCHS):
        for x, y in batches(data.private, order):
            step(plain, movers, x, y)
    assert equal(trained(data, start, 1, mode)[0], plain)


def test_counts_that_agree_stay_what_they_are_when_averaged() -> None:
    splits = [Split(nn.BatchNorm1d(2), nn.Identity()) for _ in range(2)]
    for split in splits:
        split.bottom.num_batches_tracked.fill_(3)
        split.bottom.running_mean.fill_(0.1)
    average(splits, splits, [3, 7])  # 0.3 * 3 + 0.7 * 3 is a little less than 3
    assert [int(split.bottom.num_batches_tracked) for split in splits] == [3, 3]
    assert splits[0].bottom.running_mean.tolist() == torch.full((2,), 0.1).tolist()


@pytest.mark.parametrize("n", [2, 3, 5])
def test_division_keeps_patients_whole_and_every_record_once(toy: Toy, n: int) -> None:
    private = toy("dataset", "toy_flat").load().private
    parts = divide(private, n, SEED)
    rows = sorted(tuple(row) for part in parts for row in part.x.tolist())
    assert rows == sorted(tuple(row) for row in private.x.tolist())
    owners = [set(part.group.tolist()) for part in parts]
    assert sum(map(len, owners)) == len(set().union(*owners)) == len(private.group.unique())
    largest = int(private.group.bincount().max())
    assert max(map(len, parts)) - min(map(len, parts)) <= largest


def test_division_without_patients_is_even_and_depends_on_the_seed_alone() -> None:
    records = Records(torch.rand(31, 2), torch.zeros(31).long(), torch.arange(31))
    ids = [[part.id.tolist() for part in divide(records, 4, seed)] for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    assert [len(part) for part in ids[0]] == [8, 8, 8, 7]
    assert sorted(i for part in ids[0] for i in part) == list(range(31))


@pytest.mark.parametrize("grouped", [True, False])
def test_more_clients_than_patients_or_records_is_bad_input(grouped: bool) -> None:
    groups = torch.arange(12) // 4 if grouped else None
    records = Records(torch.rand(12, 2), torch.zeros(12).long(), torch.arange(12), groups)
    with pytest.raises(BadInput, match=f"13 clients.*{'3 patients' if grouped else '12 records'}"):
        divide(records, 13, SEED)
