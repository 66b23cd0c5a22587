"""DP-SGD clips each record's gradient, adds noise, and accounts for it."""

from __future__ import annotations

import copy
from math import ceil, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from splitleak.contract import BadInput, Bottom, Exposure, Hooks, Records, Split, Task
from splitleak.defenses.dp_sgd import DPSGD
from splitleak.defenses.dropout import Dropout
from splitleak.defenses.gaussian import Gaussian
from splitleak.plan.seeds import Stream
from splitleak.plan.settings import Clients
from splitleak.score import channel
from splitleak.score.null import NullChannel
from splitleak.train.accounting import privacy
from splitleak.train.division import divide
from splitleak.train.loop import exchange, finish

from .feature_defenses import Stage, network, staged, steps

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")


SILENT = 1e-9  # a noise multiplier


def clipped_by_hand(split: Split, records: Records, task: Task, norm: float) -> list[Tensor]:
    """The sum over records of their clipped gradients, one record at a time through the uncut network."""
    params = split.client_parameters()
    total = [torch.zeros_like(p) for p in params]
    for x, y in zip(records.x, records.y, strict=True):
        gradients = torch.autograd.grad(task.loss(split(x[None]), y[None]), params)
        size = torch.cat([g.flatten() for g in gradients]).norm()
        for t, g in zip(total, gradients, strict=True):
            t += g * min(1.0, norm / float(size))
    return total


@pytest.mark.parametrize("head", [False, True], ids=["vanilla", "u_shape"])
@pytest.mark.parametrize("norm", [0.05, 100])
def test_dp_sgd_moves_by_the_mean_of_clipped_gradients(head: bool, norm: float) -> None:
    split, records, task = network(head=head)
    defense = DPSGD(SILENT, norm)
    split = defense.shape(split)
    start = [p.detach().clone() for p in split.client_parameters()]
    wanted = clipped_by_hand(split, records, task, norm)
    steps(split, records, task, defense.begin(split, 0), batch=40, lr=0.5, optimizer="sgd")
    for p, before, total in zip(split.client_parameters(), start, wanted, strict=True):
        torch.testing.assert_close(p.detach(), before - 0.5 * total / 40, rtol=1e-3, atol=1e-5)


def test_dp_sgd_without_clipping_and_noise_is_plain_training_over_many_steps() -> None:
    ends = []
    for defense in (None, DPSGD(SILENT, 100)):
        split, records, task = network(head=True)
        live = Hooks() if defense is None else defense.begin(defense.shape(split), 0)
        steps(split, records, task, live, batch=20, epochs=4, optimizer="sgd", lr=0.1)
        ends.append(torch.cat([p.detach().flatten() for p in split.parameters()]))
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-5)


def test_dp_sgds_noise_has_its_deviation_and_is_divided_by_a_full_batch() -> None:
    moves = []
    for size in (40, 24):  # 24: a second batch of 16, which moves as far as a full one
        split, records, task = network()
        defense = DPSGD(1000.0, 0.01)
        start = torch.cat([p.detach().flatten() for p in defense.shape(split).client_parameters()])
        steps(split, records, task, defense.begin(split, 0), batch=size, lr=1.0, optimizer="sgd")
        end = torch.cat([p.detach().flatten() for p in split.client_parameters()])
        moves.append(float((end - start).std()))
    assert moves[0] == pytest.approx(1000 * 0.01 / 40, rel=0.15)
    assert moves[1] == pytest.approx(sqrt(2) * 1000 * 0.01 / 24, rel=0.15)


def test_dp_sgd_behind_a_null_channel_keeps_no_activations() -> None:
    """No gradient reaches the client there; 8,000 steps of activations were 1.5 GiB."""
    split, records, task = network()
    live = NullChannel(DPSGD().begin(DPSGD().shape(split), 0), split, records.x)
    steps(split, records, task, live, batch=16)
    assert not any(getattr(module, "activations", None) for module in split.bottom.modules())


def test_dp_sgd_changes_neither_keys_nor_what_is_sent(stage: Stage) -> None:
    made = staged(stage, DPSGD(), protocol="u_shape")
    plain = staged(stage, Dropout(), protocol="u_shape")
    assert made.tensors().keys() == plain.tensors().keys()
    sent = channel.release(made, made.data.test, Stream(0))["smashed"]
    with torch.no_grad():
        assert torch.equal(sent, made.split.bottom(made.data.test.x)[0])


def test_after_training_nothing_collects_gradients_of_records() -> None:
    split, records, task = network(head=True)
    defense = DPSGD()
    steps(defense.shape(split), records, task, live := defense.begin(split, 0))
    split.zero_grad()
    for p in split.client_parameters():
        p.grad_sample = None  # type: ignore[attr-defined]
    done = exchange(split, live, task, records.x, records.y, "sum")  # a release: eval mode, gradients of the head
    finish(done, None)
    assert all(p.grad_sample is None for p in split.client_parameters())  # type: ignore[attr-defined]
    for training in (False, True):  # what an attacker has: a copy, to train or to look through
        own = copy.deepcopy(split).train(training)
        task.loss(own(records.x), records.y).backward()
        assert all(p.grad is not None and not hasattr(p, "grad_sample") for p in own.client_parameters())
        guess = torch.zeros(4, 5, requires_grad=True)
        own.requires_grad_(False).bottom(guess)[0].sum().backward()
        assert guess.grad is not None


def test_two_clients_each_collect_their_own_gradients() -> None:
    for mode in ("sequential", "parallel"):
        split, records, task = network(head=True)
        plain, defense = copy.deepcopy(split), DPSGD(SILENT, 100)
        clients = Clients(2, mode)  # type: ignore[arg-type]
        more: dict[str, Any] = {"epochs": 2, "optimizer": "sgd", "lr": 0.1, "clients": clients}
        steps(defense.shape(split), records, task, defense.begin(split, 0), batch=10, **more)
        steps(plain, records, task, Hooks(), batch=10, **more)
        for a, b in zip(split.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("dataset", "protocol"), [("toy_flat", "vanilla"), ("toy_images", "u_shape")])
def test_dp_sgd_refuses_batch_norm_at_the_client(stage: Stage, dataset: str, protocol: str) -> None:
    with pytest.raises(BadInput, match=r"defense 'dp_sgd': the client's bottom .*(BatchNorm|batch)"):
        stage(dataset=dataset, protocol=protocol, defense="dp_sgd", cut=2)


def test_dp_sgd_refuses_batch_norm_without_weights_too() -> None:
    for kept in (True, False):
        norm = nn.BatchNorm1d(3, affine=False, track_running_stats=kept)
        with pytest.raises(BadInput, match="BatchNorm1d mixes records"):
            DPSGD().shape(Split(Bottom(nn.Linear(3, 3), norm), nn.Linear(3, 2)))


def test_dp_sgd_takes_group_norm_and_refuses_what_opacus_refuses() -> None:
    grouped = Split(Bottom(nn.Conv1d(1, 4, 3), nn.GroupNorm(2, 4)), nn.Linear(3, 2))
    assert DPSGD().shape(grouped) is grouped
    with pytest.raises(BadInput, match="LSTM"):
        DPSGD().shape(Split(Bottom(nn.LSTM(3, 3)), nn.Linear(3, 2)))


def test_dp_sgd_leaves_the_servers_batch_norm_alone() -> None:
    split = Split(Bottom(nn.Linear(3, 3)), nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)))
    assert DPSGD().shape(split) is split


@pytest.mark.parametrize(("noise", "epochs", "batches"), [(1.0, 5, 400), (2.0, 20, 100), (0.6, 1, 30)])
def test_dp_sgds_epsilon_is_the_accountants(noise: float, epochs: int, batches: int) -> None:
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.rdp import RdpAccountant

    other = RdpAccountant().compose(PoissonSampledDpEvent(1 / batches, GaussianDpEvent(noise)), epochs * batches)
    mine = DPSGD(noise).privacy(Exposure(epochs * batches, batches))
    assert mine.epsilon == pytest.approx(other.get_epsilon(1e-5), rel=0.03)
    assert mine.delta == 1e-5


def test_epsilon_falls_with_noise_and_sampling_and_grows_with_epochs() -> None:
    def epsilon(noise: float = 1.0, epochs: int = 5, batches: int = 50) -> float:
        return DPSGD(noise).privacy(Exposure(epochs * batches, batches)).epsilon

    assert epsilon(epochs=0) == 0  # nothing was trained
    assert epsilon(noise=0.7) > epsilon() > epsilon(noise=2.0) > 0
    assert epsilon(batches=1) > epsilon(batches=10) > epsilon()
    assert epsilon(epochs=1) < epsilon(epochs=5) < epsilon(epochs=20)
    assert DPSGD().privacy(Exposure(250, 50)).epsilon_one == epsilon(epochs=1)


def test_without_sampling_epsilon_bounds_the_exact_composition() -> None:
    from dp_accounting import get_epsilon_gaussian

    for epochs in (1, 4, 20):
        exact = get_epsilon_gaussian(1 / sqrt(epochs), 1e-5)
        assert exact <= DPSGD().privacy(Exposure(epochs)).epsilon < 1.3 * exact


@pytest.mark.slow
def test_a_record_of_the_client_that_is_worst_off_is_what_is_accounted_for(stage: Stage) -> None:
    for n, batches in ((1, {7}), (5, {1, 2})):  # 36 records of twelve patients, in batches of 5; none of one record
        made = staged(stage, DPSGD(), dataset="toy_images", train={"batch_size": 5}, clients={"n": n})
        parts = divide(made.data.private, made.recipe.clients, made.data.task, made.recipe.seeds.order)
        counts = [ceil((len(part) - 1) / 5) for part in parts]
        assert {*counts} == batches
        steps = 2 * sum(counts)
        assert privacy(made, steps).epsilon == max(DPSGD().privacy(Exposure(2 * b, b)).epsilon for b in batches)


def test_an_uncut_network_is_trained_without_a_defence_and_none_is_claimed(stage: Stage) -> None:
    made = staged(stage, Gaussian(), protocol="central", attack="blind")
    assert privacy(made, 10) is None
