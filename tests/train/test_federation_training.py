"""Federated averaging by Flower equals the same written out plainly."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.train import victim
from splitleak.train.division import divide
from splitleak.train.federated import taking_part, weights
from splitleak.train.party import Party
from splitleak.train.whole import WholeTraining

from ..conftest import TOYS, toy_matrix
from .federations import SGD, Stage, fed, learned, weights_of


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of two networks."""
    return max(float((t.double() - other[name].double()).abs().max()) for name, t in one.items())


def test_one_client_and_one_round_is_training_without_a_federation(stage: Stage) -> None:
    scene = stage(protocol=fed(rounds=1, local_epochs=3), train=SGD, attack="blind")
    cell, data = scene.cell, scene.data
    alone = victim.fresh(scene.case, data)
    WholeTraining(alone.split, data.private, data.task, replace(cell.train, epochs=3), cell.seeds.order).run()
    assert apart(learned(scene), dict(alone.split.state_dict())) == 0


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox"])
def test_rounds_are_those_of_mcmahan_written_out_plainly(stage: Stage, strategy: str) -> None:
    mu = 0.5 if strategy == "fedprox" else 0.0
    scene = stage(protocol=fed(rounds=3, strategy=strategy, proximal_mu=0.5), clients=3, train=SGD, attack="blind")
    cell, data = scene.cell, scene.data
    whole = victim.fresh(scene.case, data).split
    parts = divide(data.private, cell.clients, data.task, cell.seeds.order)
    parties = [Party(k, whole, part, cell.train, cell.seeds.order) for k, part in enumerate(parts)]
    for _ in range(3):
        copies = []
        for party in parties:
            network = copy.deepcopy(whole).train()
            for x, y in party.batches():
                loss = F.cross_entropy(network(x), y)
                pull = sum(
                    ((p - q.detach()) ** 2).sum() for p, q in zip(network.parameters(), whole.parameters(), strict=True)
                )
                slopes = torch.autograd.grad(loss + mu / 2 * pull, list(network.parameters()))
                with torch.no_grad():
                    for p, slope in zip(network.parameters(), slopes, strict=True):
                        p -= 0.1 * slope
            copies.append(network.state_dict())
        share = torch.tensor([len(part) for part in parts]) / len(data.private)
        mean = {n: sum(w * c[n] for w, c in zip(share, copies, strict=True)) for n in weights(whole)}
        whole.load_state_dict(mean, strict=False)
    assert apart(mean, learned(scene)) < 1e-5


def test_fedadam_steps_towards_the_mean_at_the_servers_own_pace(stage: Stage) -> None:
    slow, fast = (
        stage(protocol=fed(strategy="fedadam", server_lr=lr), clients=2, train=SGD, attack="blind")
        for lr in (1e-4, 1e-2)
    )
    first = victim.fresh(slow.case, slow.data).split.state_dict()
    moved = [apart(weights_of(learned(scene)), dict(first)) for scene in (slow, fast)]
    assert 0 < moved[0] < 1e-3 < moved[1]


def test_a_tables_own_optimiser_rate_and_batch_are_those_of_the_clients(stage: Stage) -> None:
    own = {"optimizer": "sgd", "lr": 0.1, "batch_size": 8}
    settings = {"momentum": 0.0, "lr": 3e-3}
    told, asked = (
        stage(protocol=fed(**here), clients=2, train=settings | there, attack="blind")
        for here, there in ((own, {}), ({}, own))
    )
    assert apart(learned(told), learned(asked)) == 0
    assert apart(learned(told), learned(stage(protocol=fed(), clients=2, train=settings, attack="blind"))) > 0


def test_a_fraction_of_the_clients_takes_part_and_others_stay_out(stage: Stage) -> None:
    scene = stage(protocol=fed(rounds=6, fraction=0.5), clients=4, train=SGD, attack="blind")
    told: dict[int, set[int]] = {}
    for number, client, _ in scene.kept.facts.learned.sent:
        told.setdefault(number, set()).add(client)
    assert {len(clients) for clients in told.values()} == {2}
    assert len(set().union(*told.values())) > 2  # not always the same two
    assert [taking_part(f, 4) for f in (0.1, 0.5, 0.99, 1.0)] == [1, 2, 3, 4]


TWICE = """import json, sys, torch
from pathlib import Path
from splitleak.plan import matrix
from splitleak.plan.case import Case
from splitleak.train import victim
from splitleak.train.data import load_data
from splitleak.train.fit import Fit
for given in json.load(sys.stdin):
    case = Case.of(matrix.read(given, Path.cwd()).cells[0], Path.cwd())
    data = load_data(case, torch.device("cpu"))
    made = [victim.fresh(case, data) for _ in range(2)]
    sent = [Fit(one).run().sent for one in made]
    print(json.dumps([sent, [one.fingerprint() for one in made]]))"""


@pytest.mark.slow
def test_the_first_federation_of_a_process_is_like_any_other_of_it() -> None:
    """Flower's own imports draw from Python's random state: they once came between a victim's seed and its clients."""
    asked = [
        toy_matrix(protocol=fed(rounds=6, fraction=0.5), clients=6, train=SGD, defense=defense, attack="blind")
        for defense in (
            "none",
            {"name": "local_dp", "max_norm": 1e-3},
            {"name": "central_dp", "max_norm": 1e-3},
            "secagg",
        )
    ]
    told = subprocess.run(
        [sys.executable, "-P", "-c", TWICE],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        cwd=TOYS,
    )
    assert told.returncode == 0, told.stderr
    for line in told.stdout.splitlines():
        (first, again), (one, other) = json.loads(line)
        assert first == again
        assert one == other
    assert len(told.stdout.splitlines()) == len(asked)


@pytest.mark.slow
def test_utility_is_noted_after_every_round_and_for_every_client(run: Any) -> None:
    (record,) = run(protocol=fed(rounds=4), clients=3, train=SGD, attack="blind")
    assert len(record["utility_curve"]) == 4
    assert record["utility_curve"][-1] == pytest.approx(record["utility"])
    assert len(record["utility_clients"]) == 3
    (seldom,) = run(protocol=fed(rounds=4, utility_every=2), clients=3, train=SGD, attack="blind")
    assert seldom["utility_curve"] == record["utility_curve"][1::2]


def test_bytes_are_all_weights_for_each_client_and_round_shared_out(stage: Stage) -> None:
    from splitleak.score.channel import wire_bytes

    for asked, trained_on in (({"local_epochs": 2}, 2 * 68), ({"local_steps": 3, "batch_size": 4}, 3 * 3 * 4)):
        scene = stage(protocol=fed(**asked), clients=3, train=SGD, attack="blind")
        made = victim.fresh(scene.case, scene.data)
        size = sum(4 * t.numel() for t in weights(made.split).values())
        assert wire_bytes(made) == (round(3 * size / trained_on),) * 2
