"""The proxy adversary: what the client is made to minimise, how its proxy learns, and that a collapse is seen."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

import splitleak
from splitleak.contract import Bottom, Grant, Head, Hooks, Records, Split, Task
from splitleak.defenses.proxy_adversary import ProxyAdversary
from splitleak.plan.seeds import Stream
from splitleak.plan.settings import Clients, Train
from splitleak.score import channel, utility
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene
from splitleak.train import victim
from splitleak.train.collapse import collapsed_at, constant_loss
from splitleak.train.loop import Training, exchange, finish
from splitleak.train.victim import Victim

from ..conftest import PLAIN, SETTINGS, watched

TOYS = Path(__file__).parents[1] / "toys"
Stage = Callable[..., Scene]
RANGE = (-5.0, 5.0)
STRONG = {"name": "proxy_adversary", "weight": 0.9}


def network(*, head: bool = False, n: int = 40) -> tuple[Split, Records, Task]:
    torch.manual_seed(3)
    bottom = Bottom(nn.Linear(5, 12), nn.ReLU(inplace=True), nn.Linear(12, 12))
    top = nn.Sequential(nn.Linear(12, 16), nn.ReLU(inplace=True), nn.Linear(16, 8 if head else 3))
    split = Split(bottom, top, Head(nn.ReLU(inplace=True), nn.Linear(8, 3)) if head else None).measure((5,), RANGE)
    x = torch.randn(n, 5)
    return split, Records(x, x[:, :3].argmax(1), torch.arange(n)), Task("classes", 3)


def begun(split: Split, **given: Any) -> Any:
    torch.manual_seed(8)
    return ProxyAdversary(**given).begin(split, 0)


def train(split: Split, records: Records, task: Task, live: Hooks, epochs: int = 1, batch: int = 40) -> Training:
    training = Training(split, records, task, live, Train(epochs, batch, 0.01), Clients(), 0)
    for _ in training.steps(Grant(0), set()):
        pass
    return training


def flat(parameters: Any) -> Tensor:
    return torch.cat([p.detach().flatten() for p in parameters])


def kept(scene: Scene) -> Victim:
    made = victim.fresh(scene.case, scene.data)
    made.load(scene.kept.tensors)
    return made


# What the client minimises ------------------------------------------------------------------------


@pytest.mark.parametrize("hinge", [False, True])
@pytest.mark.parametrize("weight", [0.01, 0.5, 0.99])
def test_the_penalty_is_the_weighted_mean_error_of_the_proxy(weight: float, hinge: bool) -> None:
    split, records, _ = network()
    live, x = begun(split, weight=weight, hinge=hinge), records.x
    live.proxy[-1][-2].bias.data[0] = 9  # beyond the range: no guess of it counts for more than the range's end
    z = split.bottom(x)[0].detach()
    guess = live.proxy(z).clamp(-5, 5)
    assert float(guess.max()) == 5
    errors = [float((g - t).abs().sum()) / 5 for g, t in zip(guess, x, strict=True)]
    if hinge:
        median = x.sort(0).values[(len(x) - 1) // 2]
        blind = [float((median - t).abs().sum()) / 5 for t in x]
        assert any(b < e for b, e in zip(blind, errors, strict=True))
        errors = [min(b, e) for b, e in zip(blind, errors, strict=True)]
    wanted = -weight / (1 - weight) * sum(errors) / len(errors)
    assert float(live.penalty(x, z, z, records.y)) == pytest.approx(wanted, rel=1e-5)


def gradients(split: Split, live: Hooks, records: Records, task: Task) -> tuple[Tensor, Tensor]:
    split.zero_grad()
    finish(exchange(split, live, task, records.x, records.y), None)
    return flat(p.grad for p in split.client_parameters()), flat(p.grad for p in split.top.parameters())


@pytest.mark.parametrize("head", [False, True], ids=["vanilla", "u_shape"])
def test_the_clients_gradient_is_the_published_sums_and_the_servers_the_tasks(head: bool) -> None:
    split, records, task = network(head=head)
    live, w = begun(split, weight=0.8), 0.8
    client, server = gradients(split, live, records, task)
    plain, server_alone = gradients(split, Hooks(), records, task)
    assert torch.equal(server, server_alone)
    split.zero_grad()
    guess = live.proxy(split.bottom(records.x)[0]).clamp(*RANGE)
    whole = (1 - w) * task.loss(split(records.x), records.y) - w * (guess - records.x).abs().mean()
    whole.backward()
    published = flat(p.grad for p in split.bottom.parameters())
    mine = client[: len(published)]
    torch.testing.assert_close(mine, published / (1 - w), rtol=1e-4, atol=1e-6)  # Adam knows no common factor
    assert torch.equal(client[len(published) :], plain[len(published) :])  # the head's
    assert float((mine - plain[: len(published)]).norm() / plain.norm()) > 0.1


def test_under_adam_the_client_moves_as_it_would_under_the_published_sum() -> None:
    w, ends = 0.8, []
    for published in (True, False):
        split, records, task = network()
        live = begun(split, weight=w)
        if published:
            optimizer = torch.optim.Adam(split.bottom.parameters(), 0.01)
            guess = live.proxy(split.bottom(records.x)[0]).clamp(*RANGE)
            loss = (1 - w) * task.loss(split(records.x), records.y) - w * (guess - records.x).abs().mean()
            loss.backward()
            optimizer.step()
        else:
            train(split, records, task, live)
        ends.append(flat(split.bottom.parameters()))
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-5)


def test_with_the_hinge_nothing_is_gained_by_a_proxy_that_is_worse_than_blind() -> None:
    split, records, task = network()
    live = begun(split, hinge=True)
    live.proxy[-1][-2].bias.data += 4
    client, _ = gradients(split, live, records, task)
    plain, _ = gradients(split, Hooks(), records, task)
    assert torch.equal(client, plain)
    open_ended, _ = gradients(split, begun(split), records, task)
    assert not torch.equal(open_ended, plain)


def test_without_weight_the_network_is_bit_for_bit_the_undefended_one(stage: Stage) -> None:
    none, ignored, defended = (
        stage(model=PLAIN, defense=d).kept.tensors for d in ("none", STRONG | {"weight": 0.0}, STRONG)
    )
    assert all(torch.equal(t, ignored[name]) for name, t in none.items())
    assert not all(torch.equal(t, defended[name]) for name, t in none.items())


# How the proxy learns -----------------------------------------------------------------------------


def test_the_proxy_learns_to_invert_a_client_that_changes_nothing() -> None:
    split, records, _ = network()
    split.bottom, split.cut_shape = Bottom(nn.Identity()), (5,)
    live, x = begun(split, lr=1e-2), records.x

    def error() -> float:
        return float((live.proxy(x) - x).abs().mean())

    before = error()
    for _ in range(300):
        live.observe(x, x)
    assert error() < 0.25 * before


def test_each_observation_is_one_step_along_its_own_gradient_alone() -> None:
    split, records, task = network()
    live, seen = begun(split), []
    step = live.optimizer_of_proxy.step
    live.optimizer_of_proxy.step = lambda: (seen.append(flat(p.grad for p in live.proxy.parameters())), step())
    for _ in range(3):
        done = exchange(split, live, task, records.x, records.y)
        finish(done, None)  # the penalty's way back leads through the proxy
        assert all(p.grad is None for p in live.proxy.parameters())
        twin = copy.deepcopy(live.proxy).requires_grad_(True)
        (twin(done.wire["smashed"]) - records.x).abs().mean().backward()
        before = flat(live.proxy.parameters())
        live.observe(done.client.x, done.wire["smashed"])
        torch.testing.assert_close(seen[-1], flat(p.grad for p in twin.parameters()))
        assert not torch.equal(before, flat(live.proxy.parameters()))
    assert len(seen) == 3


def test_no_gradient_of_the_proxys_training_reaches_the_client() -> None:
    split, records, _ = network()
    live = begun(split)
    live.observe(records.x, split.bottom(records.x)[0])
    assert all(p.grad is None for p in split.parameters())


def test_a_proxy_of_dark_records_does_not_die() -> None:
    """A sigmoid at the end does, under L1: a black image is what it then answers for ever, and is never punished."""
    split, _, _ = network()
    split.in_range, split.bottom, split.cut_shape = (0.0, 1.0), Bottom(nn.Identity()), (5,)
    live = begun(split, lr=1e-2)
    x = (torch.rand(60, 5) < 0.2).float()
    for _ in range(300):
        live.observe(x, x)
    assert float((live.proxy(x).clamp(0, 1) - x).abs().mean()) < 0.3 * float(x.mean())


@pytest.mark.parametrize("setting", SETTINGS)
def test_after_training_nothing_of_it_changes_any_more(stage: Stage, setting: str) -> None:
    scene = stage(**({"model": PLAIN, "defense": STRONG} | SETTINGS[setting]))
    made, start = kept(scene), victim.fresh(scene.case, scene.data)
    assert made.fingerprint() == scene.kept.facts.fingerprint
    moved = {name for name, t in made.tensors().items() if not torch.equal(t, start.tensors()[name])}
    assert {name.partition(".")[0] for name in moved} == {"split", "defense"}
    x = made.data.private.x
    sent = channel.release(made, made.data.private, Stream(1))["smashed"]
    asked = channel.send(made, x, x)
    utility.on_test(made)
    with torch.no_grad():
        assert torch.allclose(sent, made.split.bottom(x)[0], atol=1e-6)  # z itself
    assert torch.equal(sent, asked)
    assert made.fingerprint() == scene.kept.facts.fingerprint


@pytest.mark.parametrize("mode", ["sequential", "parallel"])
@pytest.mark.parametrize("setting", ["flat", "masks"])
def test_two_clients_hand_on_one_proxy(stage: Stage, setting: str, mode: str) -> None:
    given = {"model": PLAIN, "defense": STRONG, "clients": {"n": 2, "mode": mode}} | SETTINGS[setting]
    scene = stage(**given)
    again = stage(**given)
    assert scene.kept.facts.fingerprint == again.kept.facts.fingerprint == kept(scene).fingerprint()
    norm = scene.kept.tensors["defense.proxy.0.norm.num_batches_tracked"]
    assert int(norm) == 2 * scene.kept.facts.learned.steps  # every client's turn: once for the penalty, once to learn


# What others see of it ----------------------------------------------------------------------------


def test_an_attacker_sees_its_parameters_and_nothing_that_it_learned(stage: Stage) -> None:
    scene = stage(model=PLAIN, defense=STRONG, attack={"name": "toy_probe", "wants": "DEFENSE|BOTTOM"}, threat="oracle")
    seen: list[Any] = []

    def look(view: Any) -> Tensor:
        seen.extend([view.defense, view.bottom])
        return torch.full((view.targets, *view.in_shape), 0.5)

    type(scene.attack)._look = staticmethod(look)  # type: ignore[attr-defined]
    tried = Attempt(scene)
    tried.run()
    defense, bottom = seen
    assert vars(defense) == vars(ProxyAdversary(0.9)) | {"folder": defense.folder}
    learned = [p for p in tried.victim.live.proxy.parameters() if p.numel() > 1]  # type: ignore[attr-defined]
    shown = [t for module in (bottom,) for t in module.state_dict().values()]
    assert not any(p.shape == t.shape and torch.equal(p, t) for p in learned for t in shown)
    assert len(shown) == len(tried.victim.split.bottom.state_dict())


@pytest.mark.slow
def test_an_onlooker_does_not_disturb_it_nor_does_a_null_channel(stage: Stage) -> None:
    assert len(list(watched(stage, model=PLAIN, defense=STRONG))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
def test_a_whole_run_ends_well_with_an_onlooker_and_with_hijackers(run: Any, protocol: str) -> None:
    hijack = {"name": "fsha", "iterations": 40, "pilot": 20, "width": 16}
    found = run(model=PLAIN, defense=[STRONG], attack=["toy_read_off", "toy_hijack", hijack], protocol=protocol)
    assert [r["status"] for r in found] == ["done"] * 3, [r["why"] for r in found]


@pytest.mark.parametrize(
    ("name", "bad"),
    [("weight", -0.1), ("weight", 1), ("weight", "0.5"), ("hinge", 1), ("width", 3), ("lr", 0), ("lr", math.inf)],
)
def test_an_impossible_knob_is_refused(name: str, bad: object) -> None:
    with pytest.raises(ValidationError, match=name):
        TypeAdapter(ProxyAdversary).validate_json(json.dumps({name: bad}), strict=True)


# Collapse -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "at"),
    [
        ([], None), ([1.0], 0), ([0.97], None), ([0.985, 0.99, 2.0], 0), ([1.0, 0.9], None), ([0.9, 1.0], 1),
        ([1.0, 0.9, 1.0, 0.99], 2), ([0.5, 0.5, 0.98], 2),
    ],
)  # fmt: skip
def test_a_collapse_begins_with_the_first_epoch_after_the_last_that_beat_the_constant(
    losses: list[float], at: int | None
) -> None:
    assert collapsed_at(losses, 1.0) == at


def test_a_constants_loss_is_that_of_what_is_true_of_all() -> None:
    y = torch.tensor([0] * 300 + [2] * 100)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert constant_loss(y, Task("classes", 3)) == pytest.approx(entropy, rel=1e-5)
    masks = torch.zeros(8, 1, 1, 2)
    masks[:6, ..., 0] = 1  # one pixel that is in for three of four, one that is never
    assert constant_loss(masks, Task("mask", 1, "bce")) == pytest.approx(entropy / 2, rel=1e-4)
    values = torch.randn(500, 2)
    spread = float((values - values.mean(0)).square().mean())
    assert constant_loss(values, Task("value", 2)) == pytest.approx(spread, rel=1e-5)


COLLAPSE: dict[str, Any] = {"model": PLAIN, "cut": 2, "train": {"epochs": 15, "lr": 0.1}}


def test_at_the_published_weight_the_network_collapses_and_the_record_knows_since_when(stage: Stage) -> None:
    calm, gone = (stage(defense=d, **COLLAPSE).kept.facts.learned for d in ("none", "proxy_adversary"))
    assert calm.collapsed_at is None
    assert calm.loss_curve[-1] < 0.9 * calm.loss_constant
    assert len(gone.loss_curve) == 15
    assert 0 <= gone.collapsed_at < 14
    assert min(gone.loss_curve[gone.collapsed_at :]) >= 0.98 * gone.loss_constant


@pytest.mark.slow
def test_a_collapse_is_flagged_and_honest_training_is_not(run: Any) -> None:
    found = run(defense=["none", "proxy_adversary"], attack="blind", **COLLAPSE)
    for record in found:
        gone = record["cell"]["defense"]["name"] != "none"
        assert ("early-collapse" in splitleak.leaderboard([record])["flags"][0].split()) is gone


def test_what_a_constant_can_reach_is_told_of_the_labels_that_were_sent(stage: Stage) -> None:
    private = stage().data.private
    answered = stage(defense={"name": "label_dp", "epsilon": 0.01}).kept.facts.learned.loss_constant
    shares = private.y.bincount().double() / len(private)
    entropy = float(-(shares * shares.log()).sum())
    assert stage().kept.facts.learned.loss_constant == pytest.approx(entropy, rel=1e-5)
    assert answered != pytest.approx(entropy, rel=1e-5)
