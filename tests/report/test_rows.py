"""A row of a table is one cell but for its seed: each seed counts once, and other settings are another row."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from splitleak.report import detection, intervals
from splitleak.report.labels import ADDRESS
from splitleak.report.rows import RowKey, by_row
from splitleak.report.show import long_table
from splitleak.report.summary import WIDTH, summary
from splitleak.report.table import leaderboard
from splitleak.store import Store

from .test_leaderboard import record

NULL = {"metrics": {"advantage": -0.1}, "leaks": False, "p": None}


def of(null: bool, **more: Any) -> Any:
    """A record of a cell with or without the null run."""
    made = record(**more)
    made["cell"]["null"] = null
    return made | ({"null": NULL} if null and made["status"] == "done" else {})


def with_part(kind: str, spec: dict[str, Any], label: str, **more: Any) -> Any:
    """A record whose plug-in of this kind has this specification, printed so."""
    made = record(**more)
    made["cell"][kind] = spec
    return made | {"labels": made["labels"] | {kind: label}}


def printed(records: list[Any], column: str) -> set[str]:
    return set(leaderboard(records)[column])


# one record of each seed


def twice() -> list[Any]:
    """Seed 0 with the null run and without it, and seed 1: of runs with seeds [0] and [1, 0]."""
    return [of(True, advantage=0.4), of(True, seed=1, advantage=0.6), of(False, advantage=0.4)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_seed_with_and_without_its_null_run_counts_once(order: tuple[int, ...]) -> None:
    board = leaderboard([twice()[i] for i in order])
    assert (len(board), board["n_seeds"][0], board["null_advantage"][0]) == (1, 2, -0.1)
    assert board["advantage_ci95"][0] == pytest.approx(12.7062 * 0.1, rel=1e-4)  # t(0.975, 1), two seeds
    assert board["flags"][0] == "few-seeds worst-partial"


def test_other_tables_count_a_seed_once_too() -> None:
    assert list(intervals.table(twice())["n_seeds"]) == [2]
    assert list(detection.summary(twice())["runs"]) == [2]


@pytest.mark.slow
def test_runs_with_other_lists_of_seeds_share_a_folder(run: Callable[..., Any], tmp_path: Path) -> None:
    run(seed=[0])
    run(seed=[1, 0])
    records: Any = Store(tmp_path / "out").records()
    own = [r for r in records if r["labels"]["attack"] == "toy_read_off"]
    assert sorted((r["cell"]["seed"], r["cell"]["null"]) for r in own) == [(0, False), (0, True), (1, True)]
    assert set(leaderboard(records)["n_seeds"]) == {2}


@pytest.mark.slow
def test_a_folder_where_a_cell_failed_does_not_hide_its_scores(
    run: Callable[..., Any], main: Callable[..., Any], tmp_path: Path
) -> None:
    run(attack="blind")
    done, failed, csv = (tmp_path / name for name in ("out", "failed", "all.csv"))
    shutil.copytree(done, failed)
    for path in (failed / "records").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "failed", "why": "no room"}))
    for folders in ((done, failed), (failed, done)):
        ran = main("leaderboard", *map(str, folders), "-o", str(csv))
        assert (ran.status, "1 row from 1 record" in ran.out) == (0, True)
        assert list(pd.read_csv(csv)["status"]) == ["done"]


@pytest.mark.parametrize("backwards", [False, True])
def test_of_two_records_of_a_seed_the_one_with_scores_counts(backwards: bool) -> None:
    both = [of(True, advantage=None), of(False, advantage=0.4)]
    board = leaderboard(both[::-1] if backwards else both)
    assert (board["n_seeds"][0], board["status"][0], board["advantage"][0]) == (1, "done", 0.4)


def test_of_two_equal_records_of_a_seed_one_counts_whatever_their_order() -> None:
    both = [of(False, advantage=0.4), of(False, advantage=0.5)]
    (one,), (other,) = (leaderboard(some)["advantage"] for some in (both, both[::-1]))
    assert one == other


# a row is a cell


def edited(kind: str = "attack", defense: str = "none") -> list[Any]:
    """Seeds 0 and 1 made with other values of a parameter, each the default of its day."""
    name = {"attack": "channel", "model": "ecg_cnn", "dataset": "ecg_synthetic"}[kind]
    return [
        with_part(kind, {"name": name, "size": size}, name, defense=defense, seed=seed, advantage=advantage)
        for seed, size, advantage in ((0, 100, 0.995), (1, 200, -0.124))
    ]


@pytest.mark.parametrize("kind", ["attack", "model", "dataset"])
def test_settings_that_print_alike_are_never_averaged(kind: str) -> None:
    board = leaderboard(edited(kind))
    name = edited(kind)[0]["cell"][kind]["name"]
    assert dict(zip(board[kind], board["advantage"], strict=True)) == {
        f"{name}(size=100)": 0.995, f"{name}(size=200)": -0.124,
    }  # fmt: skip
    assert set(board["n_seeds"]) == {1}
    assert len(intervals.table(edited(kind))) == len(detection.summary(edited(kind))) == 2


def test_a_label_that_needs_no_parameter_gets_none() -> None:
    assert printed(edited()[:1], "attack") == {"channel"}
    apart = [with_part("attack", {"name": "channel", "size": n}, f"channel(size={n})", seed=n) for n in (1, 2)]
    assert printed(apart, "attack") == {"channel(size=1)", "channel(size=2)"}


def test_of_a_cell_that_was_printed_in_two_ways_the_longer_label_stands() -> None:
    """The default of `size` was 100 for seed 0 and another one for seed 1."""
    spec = {"name": "channel", "size": 100}
    records = [with_part("attack", spec, label, seed=i) for i, label in enumerate(("channel", "channel(size=100)"))]
    board = leaderboard(records)
    assert (list(board["attack"]), list(board["n_seeds"])) == (["channel(size=100)"], [2])


@pytest.mark.parametrize("kind", ["attack", "model", "dataset"])
def test_a_drop_is_not_taken_from_an_undefended_row_of_another_setting(kind: str) -> None:
    (old, _), (_, new) = edited(kind), edited(kind, "laplace_range")
    new["cell"]["seed"] = 0
    board = leaderboard([old, new]).set_index("defense")
    assert board["advantage_drop"].isna().all()
    assert "below-blind" in board["flags"]["laplace_range"]  # and not `attack-failed` or `utility-collapse`
    same = leaderboard([*edited(kind), *edited(kind, "laplace_range")])
    assert set(same["advantage_drop"].dropna()) == {0.0}


def test_a_drop_is_taken_from_the_undefended_row_of_the_same_training() -> None:
    def pair(epochs: int, before: float, after: float) -> list[Any]:
        train = {"epochs": epochs}
        return [record(advantage=before, train=train), record("channel", "gaussian", 0, after, train=train)]

    board = leaderboard([*pair(1, 0.5, 0.4), *pair(2, 0.9, 0.6)]).query("defense == 'gaussian'")
    drops = dict(zip(board["settings"].str.split().str[0], board["advantage_drop"], strict=True))
    assert drops == {"epochs=1": pytest.approx(0.1), "epochs=2": pytest.approx(0.3)}


def test_the_worst_case_is_not_one_of_another_setting() -> None:
    model = {"name": "ecg_cnn", "layers": 3}
    other = with_part("model", model, "ecg_cnn", attack="inverse_network", advantage=0.9)
    board = leaderboard([record(advantage=0.3), other]).set_index("attack")
    assert dict(board["worst"]) == {"channel": 0.3, "inverse_network": 0.9}


def test_attacks_that_tamper_and_that_do_not_compete_on_one_victim() -> None:
    hijack, plain = record("fsha", advantage=0.9), record(advantage=0.3)
    hijack["cell"]["tampers"], plain["cell"]["tampers"] = True, False
    assert set(leaderboard([hijack, plain])["worst"]) == {0.9}
    key = RowKey.of(hijack)  # type: ignore[arg-type]
    assert key.undefended() == key
    assert not key.defended


# labels that tell rows apart


LAPLACE = {"name": "laplace_range", "epsilon": 5.0}
ALIKE: dict[str, tuple[str, str, list[dict[str, Any]], set[str]]] = {
    "digits that are not printed": (
        "defense", "laplace_range(epsilon=5)", [LAPLACE, LAPLACE | {"epsilon": 5.0000001}],
        {"laplace_range(epsilon=5.0)", "laplace_range(epsilon=5.0000001)"},
    ),
    "a parameter that only one has": (
        "attack", "channel", [{"name": "channel"}, {"name": "channel", "deep": True}],
        {"channel(deep=unset)", "channel(deep=True)"},
    ),
    "files of one name": (
        "attack", "mine(x=1)", [{"name": "./a/mine.py", "x": 1}, {"name": "./b/mine.py", "x": 1}],
        {"./a/mine.py(x=1)", "./b/mine.py(x=1)"},
    ),
    "lists": (
        "model", "mlp", [{"name": "mlp", "hidden": [1, 2]}, {"name": "mlp", "hidden": [1]}],
        {"mlp(hidden=[1, 2])", "mlp(hidden=[1])"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ALIKE)
def test_rows_that_would_print_alike_write_out_what_differs(case: str) -> None:
    kind, label, specs, expected = ALIKE[case]
    assert printed([with_part(kind, spec, label) for spec in specs], kind) == expected


def test_no_two_rows_print_alike() -> None:
    """Whatever differs: every combination of these changes is a row of its own."""
    changes: list[dict[str, Any]] = [
        {"attack": {"name": "channel", "a": 1}}, {"attack": {"name": "channel", "a": 1.0}}, {"tampers": True},
        {"model": {"name": "ecg_cnn", "b": "1"}}, {"clients": {"n": 1, "mode": "parallel"}},
        {"train": {"epochs": 1, "lr": 0.001}}, {"evaluate": {"targets": 9, "hints": 1}}, {"schema": 2},
        {"aux": {"name": "same", "n": None}}, {"defense": {"name": "none", "c": None}}, {"cut": 1},
    ]  # fmt: skip
    records: list[Any] = []
    for chosen in itertools.chain.from_iterable(itertools.combinations(changes, n) for n in range(3)):
        made = record()
        for change in chosen:
            made["cell"] |= change
        records.append(made)
    rows = by_row(records)
    board = leaderboard(records)
    assert len(board) == len(rows) > 50
    assert len(board[list(ADDRESS)].astype(str).drop_duplicates()) == len(board)


def test_tables_of_fewer_columns_get_those_that_tell_their_rows_apart() -> None:
    records: list[Any] = [record(), record(threat="oracle"), record(train={"epochs": 2})]
    for table in (intervals.table(records), detection.summary(records)):
        assert {"threat", "settings"} <= set(table.columns)
        assert "aux" not in table.columns
    assert "threat" not in intervals.table(records[:1]).columns


# settings


@pytest.mark.parametrize(
    ("train", "evaluate", "said"),
    [
        ({"epochs": 5}, {"targets": 64}, "epochs=5 targets=64"),
        ({"epochs": 20, "lr": 0.001, "momentum": 0.9}, {"targets": 1000, "whose": "train"}, ""),
        ({"lr": 0.0001, "batch_size": 64}, {}, "batch_size=64 lr=0.0001"),  # in the order of the fields
        ({"loss": "dice", "curve": True}, {"whose": "test"}, "loss=dice curve=True targets_from=test"),
    ],
)
def test_settings_name_what_differs_from_the_defaults(train: Any, evaluate: Any, said: str) -> None:
    assert printed([record(train=train, evaluate=evaluate)], "settings") == {said}


def test_a_federation_does_not_name_the_epochs_that_it_does_not_use() -> None:
    made = record(protocol="fedavg", cut=None, clients={"n": 2, "mode": "parallel"}, threat="fed_server")
    made["cell"] |= {"federated": {"rounds": 2}, "evaluate": {}}
    assert printed([made], "settings") == {""}


def test_the_summary_keeps_rows_of_other_settings_apart() -> None:
    board = leaderboard([record(advantage=0.3), record(advantage=0.7, train={"epochs": 2})])
    whole = summary(board)
    for text in (whole, long_table(board)):
        assert "ecg_synthetic / ecg_cnn, cut 2, vanilla, epochs=1 targets=9\n" in text
        assert "ecg_synthetic / ecg_cnn, cut 2, vanilla, epochs=2 targets=9\n" in text
    assert ".300" in whole
    assert ".700" in whole
    assert max(map(len, whole.splitlines())) <= WIDTH
