"""A defence that changes neither the victim nor what crosses has the flag `idle-defense`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from splitleak.report.table import leaderboard

from .test_leaderboard import record

PLAIN = {"name": "toy_chain", "norm": False}


def flagged(records: Any) -> set[str]:
    """The defences with the flag in every row."""
    board = leaderboard(records)
    each = zip(board["defense"], board["flags"], strict=True)
    found = {(name, "idle-defense" in str(flags).split()) for name, flags in each}
    assert len(found) == board["defense"].nunique()  # all rows of a defence agree
    return {name for name, idle in found if idle}


@pytest.mark.slow
def test_a_defence_that_changes_nothing_is_flagged_and_one_that_does_is_not(run: Callable[..., Any]) -> None:
    idle = [{"name": "toy_idle"}, {"name": "toy_idle", "live": True}, {"name": "nopeek", "weight": 0.0}]
    acts = ["laplace_range", "toy_static", {"name": "toy_idle", "small": 0.999}]
    records = run(defense=["none", *idle, *acts], model=PLAIN, seed=[0, 1], attack=["toy_read_off", "blind"])
    assert {record["status"] for record in records} == {"done"}
    assert flagged(records) == {"toy_idle(live=False, small=1)", "toy_idle(live=True, small=1)", "nopeek(weight=0)"}


@pytest.mark.slow
def test_a_defence_of_labels_is_idle_only_where_no_label_changed(run: Callable[..., Any]) -> None:
    defense = ["none", *({"name": "label_dp", "epsilon": epsilon} for epsilon in (100, 1.0))]
    assert flagged(run(defense=defense, model=PLAIN)) == {"label_dp(epsilon=100)"}


@pytest.mark.slow
def test_one_that_acts_on_the_gradient_alone_is_not_idle(run: Callable[..., Any]) -> None:
    records = run(defense=["none", "marvell"], dataset="toy_signals", model="ecg_cnn", attack="channel")
    assert flagged(records) == set()


@pytest.mark.slow
def test_an_alarm_is_idle_where_nobody_tampers_and_not_where_it_stops_a_hijack(run: Callable[..., Any]) -> None:
    defense = ["none", {"name": "toy_alarm", "after": 10_000}]
    assert flagged(run(defense=defense, model=PLAIN)) == {"toy_alarm(after=10000)"}
    early = ["none", {"name": "toy_alarm", "after": 2}]
    assert flagged(run("hijacked", defense=early, model=PLAIN, attack="toy_hijack")) == set()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "idle"), [("toy_idle", True), ("secagg", False), ("local_dp", False)])
def test_in_a_federation_weights_and_who_sees_each_update_count(run: Callable[..., Any], name: str, idle: bool) -> None:
    pytest.importorskip("flwr")
    federated = {"protocol": [{"name": "fedavg", "rounds": 1}], "clients": 2, "attack": "blind"}
    found = flagged(run(defense=["none", name], model=PLAIN, **federated))
    assert len(found) == idle


def row(defense: str, seed: int, weights: str | None, crossed: str = "a") -> Any:
    said = {} if weights is None else {"weights": weights, "crossed": crossed}
    return record(defense=defense, seed=seed, **said)


@pytest.mark.parametrize(
    ("records", "idle"),
    [
        ([row("none", 0, "w"), row("none", 1, "v"), row("gaussian", 0, "w"), row("gaussian", 1, "v")], True),
        ([row("none", 0, "w"), row("none", 1, "v"), row("gaussian", 0, "w"), row("gaussian", 1, "u")], False),
        ([row("none", 0, "w"), row("gaussian", 0, "w"), row("gaussian", 1, "u")], True),  # one seed is compared
        ([row("none", 0, "w"), row("gaussian", 0, "w", "b")], False),
        ([row("none", 0, "w"), row("gaussian", 1, "w")], False),  # nothing to compare
        ([row("none", 0, None), row("gaussian", 0, None)], False),  # earlier records do not say
        ([row("gaussian", 0, "w")], False),
    ],
)
def test_every_seed_that_both_rows_have_must_agree(records: list[Any], idle: bool) -> None:
    assert flagged(records) == ({"gaussian"} if idle else set())
