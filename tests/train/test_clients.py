"""Several clients, in turn or side by side, against the same protocols written out plainly."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import splitleak
from splitleak.contract import BadInput, Grant, Hooks, Records, Split, Task
from splitleak.plan import matrix
from splitleak.plan.seeds import Stream
from splitleak.plan.settings import Clients, Train
from splitleak.score import utility
from splitleak.train import victim
from splitleak.train.averaging import average
from splitleak.train.division import divide, wishes
from splitleak.train.fit import training_of
from splitleak.train.loop import Training

SEED, EPOCHS, BATCH = 5, 3, 8
TRAIN = Train(EPOCHS, BATCH, 0.01)
Toy = Callable[..., Any]
Run = Callable[..., list[dict[str, Any]]]
Stage = Callable[..., Any]
Lab = Any
Main = Callable[..., Any]


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


def own(prediction: Tensor, y: Tensor) -> Tensor:
    """What trains on masks, written out plainly."""
    p, t = torch.sigmoid(prediction).flatten(1), y.flatten(1)
    dice = (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
    return F.binary_cross_entropy_with_logits(prediction, y) + (1 - dice).mean()


def step(split: Split, movers: list[torch.optim.Optimizer], x: Tensor, y: Tensor) -> None:
    split.zero_grad()
    own(split(x), y).backward()  # the network as if it were never cut
    for mover in movers:
        mover.step()


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_clients_in_turn_hand_on_weights_and_buffers_but_not_their_optimiser(skips: tuple[Any, Split]) -> None:
    data, start = skips
    parts, plain = divide(data.private, Clients(2), data.task, SEED), copy.deepcopy(start).train()
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
    parts, plain = divide(data.private, Clients(2), data.task, SEED), copy.deepcopy(start).train()
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
    parts = divide(data.private, Clients(2), data.task, SEED)
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


# who holds which records


def patients(n: int, each: int, classes: int = 2, mixed: bool = False) -> Records:
    """n patients of `each` records; a patient is of one class, or holds all of them in turn."""
    group = torch.arange(n).repeat_interleave(each)
    y = torch.arange(n * each) % classes if mixed else group % classes
    return Records(torch.rand(n * each, 2), y, torch.arange(n * each), group)


def shares(parts: list[Records], classes: int) -> Tensor:
    """(n, K): the proportions of the classes at each client."""
    return torch.stack([part.y.bincount(minlength=classes) / len(part) for part in parts])


TWO, SIX = Task("classes", 2), Task("classes", 6)


@pytest.mark.parametrize("skew", [None, 0.1, 10.0])
@pytest.mark.parametrize("n", [2, 3, 4, 6, 9])
def test_division_keeps_patients_whole_and_every_record_once(toy: Toy, n: int, skew: float | None) -> None:
    data = toy("dataset", "toy_flat").load()
    parts = divide(data.private, Clients(n, "parallel", skew), data.task, SEED)
    rows = sorted(tuple(row) for part in parts for row in part.x.tolist())
    assert rows == sorted(tuple(row) for row in data.private.x.tolist())
    owners = [set(part.group.tolist()) for part in parts]
    assert sum(map(len, owners)) == len(set().union(*owners)) == len(data.private.group.unique())
    assert all(owners)
    if skew is None:
        largest = int(data.private.group.bincount().max())
        assert max(map(len, parts)) - min(map(len, parts)) <= largest


@pytest.mark.parametrize("skew", [None, 0.3])
def test_division_without_patients_is_even_and_depends_on_the_seed_alone(skew: float | None) -> None:
    records = Records(torch.rand(31, 2), torch.arange(31) % 2, torch.arange(31))
    clients = Clients(4, "sequential", skew)
    ids = [[part.id.tolist() for part in divide(records, clients, TWO, seed)] for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    assert sorted(len(part) for part in ids[0]) == [7, 8, 8, 8]
    assert sorted(i for part in ids[0] for i in part) == list(range(31))


def test_the_even_division_is_the_one_that_it_was() -> None:
    records = Records(torch.rand(9, 2), torch.zeros(9).long(), torch.arange(9))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(SEED))
    parts = divide(records, Clients(2), TWO, SEED)
    assert [part.id.tolist() for part in parts] == [order[:5].tolist(), order[5:].tolist()]


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("skew", [None, 1.0])
def test_more_clients_than_patients_or_records_is_bad_input(grouped: bool, skew: float | None) -> None:
    groups = torch.arange(12) // 4 if grouped else None
    records = Records(torch.rand(12, 2), torch.zeros(12).long(), torch.arange(12), groups)
    with pytest.raises(BadInput, match=f"13 clients.*{'3 patients' if grouped else '12 records'}"):
        divide(records, Clients(13, "parallel", skew), TWO, SEED)


@pytest.mark.parametrize("skew", [None, 1.0])
def test_a_client_of_one_record_is_bad_input(skew: float | None) -> None:
    records = Records(torch.rand(12, 2), torch.zeros(12).long(), torch.arange(12))
    with pytest.raises(BadInput, match=r"7 clients.*12 private records.*would hold 1.*needs 2 each"):
        divide(records, Clients(7, "parallel", skew), TWO, SEED)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("task", [TWO, Task("mask", 1)])
def test_no_client_goes_empty_however_skewed(task: Task, seed: int) -> None:
    sizes = torch.tensor([9, 5, 4] + [1] * 9)
    records = Records(
        torch.rand(27, 2), torch.arange(27) % 2, torch.arange(27), torch.arange(12).repeat_interleave(sizes)
    )
    for n in (2, 4, 7):  # seven clients: three hold the large patients, four two small ones each or more
        assert min(len(part) for part in divide(records, Clients(n, "parallel", 0.01), task, seed)) >= 2


def test_a_large_alpha_is_even_and_a_small_one_lets_a_class_dominate() -> None:
    records = patients(240, 3, classes=6)
    for mode in ("parallel", "sequential"):
        even = shares(divide(records, Clients(4, mode, 1e6), SIX, SEED), 6)  # type: ignore[arg-type]
        assert (even - 1 / 6).abs().max() < 0.02
    some, few = (
        torch.stack([shares(divide(records, Clients(6, "parallel", a), SIX, s), 6).amax(1) for s in range(10)]).mean()
        for a in (1.0, 0.02)
    )
    assert 0.3 < some < 0.7
    assert few > 2 / 3  # not 1: a class that two clients drew is shared, and one that nobody drew goes to somebody


def test_a_skew_of_classes_leaves_the_clients_of_one_size() -> None:
    sizes = [len(part) for part in divide(patients(240, 3, classes=6), Clients(4, "parallel", 0.1), SIX, SEED)]
    assert max(sizes) - min(sizes) <= 6  # two patients


def test_what_clients_wish_uses_up_every_class_and_keeps_their_odds() -> None:
    counts = torch.tensor([60.0, 30.0, 10.0, 0.0]).double()
    wish = wishes(counts, 5, 0.5, np.random.default_rng(0))
    torch.testing.assert_close(wish.sum(0), counts, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(wish.sum(1), torch.full((5,), 20.0).double(), rtol=1e-3, atol=0.0)
    drawn = torch.from_numpy(np.random.default_rng(0).dirichlet([0.5] * 4, size=5)).clamp(min=1e-6)

    def odds(t: Tensor) -> Tensor:  # of two classes at two clients: what scaling rows and columns does not touch
        return t[0, 0] * t[1, 1] / (t[0, 1] * t[1, 0])

    assert odds(wish) == pytest.approx(float(odds(drawn)))


def test_without_classes_the_amounts_are_skewed_as_drawn() -> None:
    records, task = patients(200, 2), Task("mask", 1)
    sizes = torch.tensor([len(part) for part in divide(records, Clients(4, "parallel", 0.5), task, SEED)])
    wanted = torch.from_numpy(400 * np.random.default_rng(SEED).dirichlet([0.5] * 4))
    assert (sizes - wanted).abs().max() <= 4
    even = [len(part) for part in divide(records, Clients(4, "parallel", 1e6), task, SEED)]
    assert max(even) - min(even) <= 4


def test_a_client_prefers_the_same_class_in_every_set_of_records() -> None:
    clients = Clients(3, "parallel", 0.05)
    one, other = (shares(divide(patients(n, 1, 6), clients, SIX, SEED), 6) for n in (300, 120))
    assert (one - other).abs().max() < 0.1
    assert (one - one.flip(0)).abs().max() > 0.5


# what each client's own model is good for


@pytest.mark.slow
@pytest.mark.parametrize("skew", [None, 0.1])
@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_each_client_is_judged_with_its_own_parts_on_its_own_share(run: Run, mode: str, skew: float | None) -> None:
    clients = {"n": 3, "mode": mode} | ({} if skew is None else {"skew": skew})
    (record,) = run(attack="blind", clients=clients, model="toy_chain")
    assert record["cell"]["clients"] == clients
    told = record["utility_clients"]
    assert [set(one) for one in told] == [{"utility", "n", "records"}] * 3
    assert sum(one["n"] for one in told) == 60
    assert sum(one["records"] for one in told) == 68
    if mode == "parallel":  # all have the average: the whole test part is judged as in three parts
        whole = sum(one["utility"] * one["n"] for one in told) / 60
        assert whole == pytest.approx(record["utility"])


def test_clients_in_turn_are_judged_with_the_weights_that_they_had(stage: Stage) -> None:
    scene = stage(clients={"n": 2}, train={"epochs": 3})
    made = victim.fresh(scene.case, scene.data)
    with Stream(scene.cell.seeds.of("training")):
        running = training_of(made)
        for _ in running.steps(Grant(0), set()):
            pass
    tests = divide(scene.data.test, scene.cell.clients, scene.data.task, scene.cell.seeds.order)
    told = scene.kept.facts.utility_clients
    for party, share, one in zip(running.parties, tests, told, strict=True):
        with torch.no_grad():
            right = party.split(share.x).argmax(1) == share.y
        assert one == {
            "utility": pytest.approx(float(right.double().mean())),
            "n": len(share),
            "records": len(party.records),
        }
    assert not equal(running.parties[0].split.bottom, running.parties[1].split.bottom)
    assert equal(running.parties[1].split.bottom, made.split.bottom)  # the last one's is what is kept


def test_one_client_has_no_utility_of_its_own(run: Run) -> None:
    assert run(attack="blind")[0]["utility_clients"] is None


def test_fewer_test_patients_than_clients_are_divided_by_record_and_fewer_records_not_at_all(stage: Stage) -> None:
    scene = stage(clients={"n": 4})
    test = scene.data.test
    for keep, wanted in ((test.group < test.group.min() + 3, True), (torch.arange(len(test)) < 3, False)):
        data = replace(scene.data, test=test.take(keep.nonzero().flatten()))
        made = victim.fresh(scene.case, data)
        told = utility.by_client(made, training_of(made).parties)
        sizes = [one["n"] for one in told]
        if wanted:
            assert sum(sizes) == int(keep.sum())
            assert max(sizes) - min(sizes) <= 1
        else:
            assert [(one["utility"], one["n"]) for one in told] == [(None, 0)] * 4


# what is told before anything is trained


@pytest.mark.parametrize("command", ["check", "run"])
def test_more_clients_than_patients_is_told_before_any_training(lab: Lab, main: Main, command: str) -> None:
    lab.matrix("clients = [2, 999]")
    out = ["--out", "out"] if command == "run" else []
    assert "999 clients, but the private records are only" in main(command, "m.toml", *out).line
    assert not list(lab.folder.glob("out/victims/*"))


@pytest.mark.parametrize(("skew", "said"), [(0, "greater than 0, not 0"), ('"x"', "skew: must be"), ("inf", "finite")])
def test_a_skew_is_a_positive_number(lab: Lab, main: Main, skew: Any, said: str) -> None:
    lab.matrix(f"clients = [{{ n = 2, skew = {skew} }}]")
    assert said in main("check", "m.toml").line


def test_a_cell_without_skew_or_loss_keeps_its_key() -> None:
    whole = {"dataset": ["ecg_synthetic"], "model": ["ecg_cnn"], "clients": [1, {"n": 2, "mode": "parallel"}]}
    cells = matrix.read({"matrix": whole}).cells
    assert [cell.resolved()["clients"] for cell in cells] == [
        {"n": 1, "mode": "sequential"},
        {"n": 2, "mode": "parallel"},
    ]
    assert "loss" not in cells[0].resolved()["train"]


@pytest.mark.slow
def test_skewed_clients_are_cells_and_rows_of_their_own(run: Run) -> None:
    clients = [1, {"n": 1, "skew": 0.5}, {"n": 2, "mode": "parallel", "skew": [0.5, 5]}, {"n": 2, "mode": "parallel"}]
    records = run(attack="blind", clients=clients)
    assert len({record["key"] for record in records}) == 4  # one client's skew says nothing
    table = splitleak.leaderboard(records)
    assert set(table["clients"]) == {"1", "2 parallel", "2 parallel skew=0.5", "2 parallel skew=5"}
