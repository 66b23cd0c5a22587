"""Epsilon counts every copy of a record and every step that was taken, and says what it is about."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from math import ceil, exp, log
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import splitleak
from splitleak.contract import Data, Defense, Exposure, Records, Split, Task
from splitleak.contract.split import Bottom
from splitleak.defenses.central_dp import CentralDP
from splitleak.defenses.dp_sgd import DPSGD
from splitleak.defenses.gaussian import Gaussian
from splitleak.defenses.label_dp import LabelDP
from splitleak.defenses.local_dp import LocalDP
from splitleak.plan import plugins
from splitleak.plan.recipe import Recipe
from splitleak.plan.settings import Clients, Train
from splitleak.train import accounting
from splitleak.train.victim import Victim

Run = Callable[..., list[Any]]
PUBLISHED = {"size": 13245, "most": 4}  # private records of the published ECG draw, and copies of one of them
EPOCHS, BATCHES = 20, 414


def drawn_with_replacement(size: int, most: int) -> Records:
    """Records of which one stands `most` times among them; people of different size."""
    ids = torch.cat([torch.zeros(most, dtype=torch.long), torch.arange(1, size - most + 1)])
    return Records(ids.float()[:, None], ids % 2, ids, ids // 1000)


def victim_of(private: Records, defense: Defense, clients: int = 1, **train: Any) -> Victim:
    split = Split(Bottom(nn.Linear(private.x[0].numel(), 2)), nn.Linear(2, 2))
    data = Data(private, private, private, Task("classes", 2), (0.0, 1e5))
    return Victim(split, data, defense, defense, Recipe("vanilla", Train(**train), Clients(clients)))


def test_gaussian_composes_every_copy_of_a_record() -> None:
    private, defense = drawn_with_replacement(**PUBLISHED), Gaussian(epsilon=100, clip=5)
    found = accounting.facts(victim_of(private, defense), EPOCHS * BATCHES)
    assert found["epsilon"] == pytest.approx(4923, abs=1)
    assert (found["privacy_unit"], found["adjacency"], found["multiplicity"]) == ("record", "replace", 4)
    once = accounting.facts(victim_of(drawn_with_replacement(PUBLISHED["size"], 1), defense), EPOCHS * BATCHES)
    assert once["epsilon"] == pytest.approx(1377, abs=1)
    assert (once["epsilon_one"], once["multiplicity"]) == (100, 1)


@pytest.mark.slow
def test_dp_sgd_takes_the_copies_of_a_record_for_a_group() -> None:
    found = accounting.facts(victim_of(drawn_with_replacement(**PUBLISHED), DPSGD()), EPOCHS * BATCHES)
    assert found["epsilon"] == pytest.approx(162.4, abs=0.1)
    assert (found["privacy_unit"], found["adjacency"], found["multiplicity"]) == ("record", "add or remove", 4)
    once = accounting.facts(victim_of(drawn_with_replacement(PUBLISHED["size"], 1), DPSGD()), EPOCHS * BATCHES)
    assert once["epsilon"] == pytest.approx(1.317, abs=0.001)
    assert once["epsilon_one"] == found["epsilon_one"]


@pytest.mark.slow
def test_dp_sgds_group_is_no_cheaper_than_group_privacy_or_independent_copies() -> None:
    """(e, d) for one record is (k e, d (e^ke - 1) / (e^e - 1)) for k; and the exact figure of independent draws."""
    from dp_accounting.pld.privacy_loss_distribution import from_mixture_gaussian_mechanism
    from scipy.stats import binom

    k, q, steps = 4, 1 / BATCHES, EPOCHS * BATCHES
    claimed = DPSGD().privacy(Exposure(steps, BATCHES, copies=k)).epsilon
    small = next(d for d in (10.0**-n for n in range(5, 40)) if weight(DPSGD(delta=d), k) <= 1e-5)
    converted = k * DPSGD(delta=small).privacy(Exposure(steps, BATCHES)).epsilon
    assert converted < 10 < claimed
    each = binom.pmf(range(k + 1), k, q).tolist()
    exact = from_mixture_gaussian_mechanism(1.0, [*map(float, range(k + 1))], each, value_discretization_interval=1e-3)
    independent = exact.self_compose(steps).get_epsilon_for_delta(1e-5)
    assert 1.2 < independent < converted


def weight(defense: DPSGD, k: int) -> float:
    """The delta of a group of k by group privacy."""
    one = defense.privacy(Exposure(EPOCHS * BATCHES, BATCHES)).epsilon
    return defense.delta * (exp(k * one) - 1) / (exp(one) - 1)


def test_steps_beyond_the_epochs_count() -> None:
    made = victim_of(drawn_with_replacement(PUBLISHED["size"], 1), DPSGD(), epochs=2)
    assert accounting.facts(made, 2 * BATCHES)["epsilon"] == pytest.approx(0.875, abs=0.001)
    assert accounting.facts(made, EPOCHS * BATCHES)["epsilon"] == pytest.approx(1.317, abs=0.001)
    made = victim_of(drawn_with_replacement(PUBLISHED["size"], 1), Gaussian(epsilon=1), epochs=2)
    for steps, epochs in ((2 * BATCHES, 2), (2 * BATCHES + 1, 3), (3 * BATCHES, 3), (0, 0)):
        assert accounting.facts(made, steps)["epsilon"] == Gaussian(epsilon=1).privacy(Exposure(epochs)).epsilon


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["gaussian", "dp_sgd"])
def test_a_hijack_is_accounted_for_the_steps_that_it_pulled(run: Run, defense: str) -> None:
    """68 records, four of them twice: 5 batches an epoch, and the hijacker leaves in the 14th."""
    given: dict[str, Any] = {"model": {"name": "toy_chain", "norm": False}, "train": {"epochs": 1}}
    honest, hijacked = run(attack=["toy_read_off", {"name": "toy_hijack", "steps": 14}], defense=defense, **given)
    assert {r["status"] for r in (honest, hijacked)} == {"done"}, (honest.get("why"), hijacked.get("why"))
    if honest["labels"]["attack"].startswith("toy_hijack"):
        honest, hijacked = hijacked, honest
    made = {"gaussian": Gaussian(), "dp_sgd": DPSGD()}[defense]
    assert honest["epsilon"] == made.privacy(Exposure(5, 5, copies=2)).epsilon
    assert hijacked["epsilon"] == made.privacy(Exposure(14, 5, copies=2)).epsilon > honest["epsilon"]
    assert honest["multiplicity"] == hijacked["multiplicity"] == 2
    table = splitleak.leaderboard([honest, hijacked])
    kind = "replace" if defense == "gaussian" else "add or remove"
    assert table["privacy"].tolist() == [f"record x2, {kind}, delta 1e-05"] * 2
    assert sorted(table["epsilon"]) == [honest["epsilon"], hijacked["epsilon"]]
    assert (table["epsilon_person"] > table["epsilon"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("clients", [1, 3])
def test_the_client_with_fewest_batches_is_accounted_for_with_all_copies(clients: int) -> None:
    private = replace(drawn_with_replacement(70, 3), group=None)
    made = victim_of(private, DPSGD(), clients, batch_size=8)
    batches = 9 if clients == 1 else 3  # 70 in batches of 8; 24, 23 and 23
    steps = 2 * 9
    assert accounting.facts(made, steps)["epsilon"] == DPSGD().privacy(Exposure(2 * batches, batches, 3)).epsilon
    assert accounting.facts(made, steps)["epsilon_person"] is None


def test_a_persons_epsilon_counts_all_records_of_whoever_has_most() -> None:
    ids = torch.arange(12)
    private = Records(ids.float()[:, None], ids % 2, ids % 11, (ids > 2).long())  # 3 and 9 records
    found = accounting.facts(victim_of(private, Gaussian(), batch_size=4), 6)
    assert found["epsilon"] == Gaussian().privacy(Exposure(2, copies=2)).epsilon
    assert found["epsilon_person"] == Gaussian().privacy(Exposure(2, copies=9, records=9)).epsilon
    found = accounting.facts(victim_of(private, LabelDP(1.0), batch_size=4), 6)
    assert (found["epsilon"], found["epsilon_person"]) == (1.0, 9.0)


@pytest.mark.parametrize("defense", [CentralDP(), LocalDP()])
def test_copies_of_a_record_change_nothing_where_a_client_is_the_unit(defense: Defense) -> None:
    one, four = (defense.privacy(Exposure(5, copies=k, released=False)) for k in (1, 4))
    assert one == four
    assert one is not None
    assert (one.unit, one.multiplicity) == ("client", 1)


@pytest.mark.parametrize("name", plugins.names("defense"))
def test_who_promises_epsilon_says_its_unit_and_adjacency_in_its_text(name: str) -> None:
    defense: Any = plugins.make("defense", {"name": name}, Path())
    promise = defense.privacy(Exposure(5, 2, copies=2))
    if promise is not None:
        text = Path(f"defenses/{name}.py").read_text().lower()
        assert promise.unit in text
        assert "neighbours" in text
        assert promise.adjacency in " ".join(text.split())


@pytest.mark.skipif("SPLITLEAK_DATA" not in os.environ, reason="needs the real heartbeats")
def test_the_published_draw_of_heartbeats_holds_a_record_four_times() -> None:
    dataset: Any = plugins.make("dataset", {"name": "ecg", "split": "reference"}, Path())
    private = dataset.load().private
    assert len(private) == PUBLISHED["size"]
    assert ceil(len(private) / 32) == BATCHES
    for defense, epsilon in ((Gaussian(epsilon=100, clip=5), 4923.36), (DPSGD(), 162.41)):
        found = accounting.facts(victim_of(private, defense), EPOCHS * BATCHES)
        assert found["epsilon"] == pytest.approx(epsilon, abs=0.01)
        assert found["multiplicity"] == PUBLISHED["most"]
        assert log(found["epsilon_person"]) > log(found["epsilon"])
