"""What secure aggregation and noise hide from gradient inversion."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import splitleak
from splitleak.contract import BadInput, Records, Update, View
from splitleak.train import federation
from splitleak.train.division import divide

from ..conftest import TOYS, toy_matrix
from .federations import SGD, Attempt, Stage, fed, learned, weights_of


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """`gradient_inversion` on batches of a single record, three of them: its records by the name of the defence."""
    matrix = toy_matrix(
        protocol=fed(local_steps=1, batch_size=1), clients=2, train=SGD,
        defense=["none", {"name": "central_dp", "max_norm": 0.01}, {"name": "local_dp", "max_norm": 0.01}],
        dataset={"name": "toy_flat", "width": 24}, model={"name": "mlp", "hidden": [[32]]}, evaluate={"targets": 3},
        attack={"name": "gradient_inversion", "tv": 0.0, "iterations": 200},
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(TOYS)
        records = splitleak.run(matrix, tmp_path_factory.mktemp("attacked"))
    assert [record["status"] for record in records] == ["done"] * 3, records
    return {record["cell"]["defense"]["name"]: dict(record) for record in records}


@pytest.mark.slow
def test_gradient_inversion_finds_a_record_that_was_sent_alone_and_nothing_in_noise(attacked: Any) -> None:
    record = attacked["none"]
    assert record["metrics"]["advantage"] > 0.9
    assert record["null"]["metrics"]["advantage"] < 0.02
    assert record["cell"]["threat"] == "fed_server"


@pytest.mark.slow
def test_central_noise_hides_nothing_from_the_server_and_local_noise_does(attacked: Any) -> None:
    """The server adds that noise itself, after it has seen the clipped update: its direction is all that is needed."""
    none, central, local = (attacked[name] for name in ("none", "central_dp", "local_dp"))
    assert central["metrics"]["advantage"] > none["metrics"]["advantage"] - 0.1
    assert local["metrics"]["advantage"] < 0.2
    assert central["epsilon"] > central["epsilon_one"] > 0
    assert local["epsilon"] > local["epsilon_one"] > 0


def seen_under(attempt: Attempt, defense: Any, **more: Any) -> list[Update]:
    def look(view: View) -> None:
        seen.extend(view.updates)

    seen: list[Update] = []
    asked = {"protocol": fed(local_steps=1, batch_size=4), "clients": 3, "train": SGD} | more
    attempt(look, "UPDATES", defense=defense, model={"name": "toy_chain", "norm": False}, **asked)
    return seen


def change(update: Update) -> Tensor:
    return torch.cat([(update.after[n] - update.before[n]).flatten() for n in update.before])


def test_a_clipped_update_has_the_norm_that_was_allowed(attempt: Attempt) -> None:
    plain = seen_under(attempt, "none")
    clipped = seen_under(attempt, {"name": "central_dp", "max_norm": 1e-3})
    assert all(float(change(u).norm()) > 2e-3 for u in plain)
    assert all(float(change(u).norm()) == pytest.approx(1e-3, rel=1e-2) for u in clipped)
    assert float(torch.cosine_similarity(change(plain[0]), change(clipped[0]), dim=0)) > 0.999


@pytest.mark.parametrize("name", ["central_dp", "local_dp"])
def test_a_client_that_learned_nothing_is_clipped_like_any_other(stage: Stage, name: str) -> None:
    asked = {"name": name, "max_norm": 1e-6}
    scene = stage(
        model={"name": "toy_chain", "norm": False},
        protocol=fed(),
        clients=2,
        train=SGD | {"lr": 1e-30},
        defense=asked,
        attack="blind",
    )
    assert all(t.isfinite().all() for t in learned(scene).values())


def test_the_noise_of_central_dp_is_in_the_average(stage: Stage) -> None:
    asked = {"protocol": fed(rounds=1), "clients": 2, "train": SGD, "attack": "blind"}
    quiet, loud = (
        learned(stage(defense={"name": "central_dp", "max_norm": 1e-6, "noise_multiplier": z}, **asked))
        for z in (1e-3, 1e5)
    )
    apart_by = torch.cat([(loud[n] - quiet[n]).flatten() for n in weights_of(loud)])
    assert float(apart_by.std()) == pytest.approx(1e5 * 1e-6 / 2, rel=0.1)  # noise * norm / clients


def test_under_secagg_the_server_sees_the_mean_of_all_and_no_client(attempt: Attempt) -> None:
    plain, summed = seen_under(attempt, "none"), seen_under(attempt, "secagg")
    assert {u.client for u in summed} == {-1}
    assert [u.n for u in summed] == [12, 12]
    first = torch.stack([change(u) for u in plain if u.round == 1])
    share = torch.tensor([len(p) for p in parts_of(attempt)], dtype=torch.float)
    mean = (first * (share / share.sum())[:, None]).sum(0)
    assert torch.allclose(change(summed[0]), mean, atol=5e-5)
    assert sorted(len(u.targets) for u in summed) == [12, 12]


def parts_of(attempt: Attempt) -> list[Records]:
    tried = attempt(lambda view: None, "", protocol=fed(), clients=3, train=SGD)
    cell, data = tried.scene.cell, tried.scene.data
    return divide(data.private, cell.clients, data.task, cell.seeds.order)


def test_secagg_alone_is_refused_by_name(run: Any) -> None:
    with pytest.raises(
        BadInput, match="defense 'secagg': strategy fedavg and 1 clients in a round; it takes fedavg and"
    ):
        run(protocol=fed(), clients=1, defense="secagg", train=SGD, attack="blind")


def test_label_dp_draws_one_label_for_a_record_in_all_rounds(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, places = list[Tensor](), list[Tensor]()
    step, turn = federation.whole_step, federation.Client.turn
    monkeypatch.setattr(federation, "whole_step", lambda *a: (labels.append(a[3][1]), step(*a))[1])
    monkeypatch.setattr(federation.Client, "turn", lambda *a: (places.append(b[2]) or b for b in turn(*a)))
    scene = stage(
        protocol=fed(rounds=5), clients=2, train=SGD | {"flip": "both"}, defense={"name": "label_dp", "epsilon": 0.5},
        dataset={"name": "toy_images", "task": "classes"}, model="mlp", attack="blind",
    )  # fmt: skip
    private = scene.data.private
    seen = torch.zeros(len(private), 2).index_put_(
        (torch.cat(places), torch.cat(labels)), torch.tensor(1.0), accumulate=True
    )
    assert seen.max(1).values.tolist() == [5] * len(private)
    assert not torch.equal(seen.argmax(1), private.y)
