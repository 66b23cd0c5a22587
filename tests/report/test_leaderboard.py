"""The leaderboard from records made by hand: every number in it can be checked with a pencil."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from splitleak import __version__
from splitleak.plan import plugins
from splitleak.report.means import interval
from splitleak.report.show import long_table, write_csv
from splitleak.report.table import leaderboard
from splitleak.train import provenance

CONTRACT = (
    "dataset, model, cut, protocol, clients, threat, aux, defense, goal, attack, "
    "n_seeds, utility_metric, utility, utility_ci95, utility_drop, utility_drop_ci95, utility_attacked, advantage, "
    "advantage_ci95, advantage_drop, advantage_drop_ci95, null_advantage, mse, psnr, ssim, reid_top1, dcor, dtw, "
    "judge_accuracy, label_accuracy, auc, tpr_at_1fpr, epsilon, bytes_up, bytes_down, seconds_train, seconds_attack, "
    "detected_at, worst, flags, status, version, settings, privacy, epsilon_person, auc_class, nearest_aux, "
    "reid_strangers, reid_chance, suite, best_known, control_advantage, tpr_at_1fpr_low, tpr_at_1fpr_high, "
    "tpr_at_0_1fpr, tpr_at_0_1fpr_low, tpr_at_0_1fpr_high, auc_raw, accuracy_gain, people, people_ci95, "
    "class_mean"
)
HERE = Path.cwd()


def hash_of(kind: plugins.Kind, name: str) -> str:
    return provenance.code_of(plugins.find(kind, name, HERE))


def record(
    attack: str = "channel", defense: str = "none", seed: int = 0, advantage: float | None = 0.5,
    utility: float = 0.9, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """What a cell leaves behind; advantage None: it failed. Others of the cell or the record by name."""
    specs = {
        "dataset": {"name": "ecg_synthetic", "n": 4000, "split": "clean", "positive": None},
        "model": {"name": "ecg_cnn", "layers": 2, "top_layers": 2, "softmax_head": False},
        "defense": {"name": defense.partition("(")[0]},
        "attack": {"name": attack.partition("(")[0]},
    }
    cell = specs | {
        "cut": 2, "protocol": "vanilla", "clients": {"n": 1, "mode": "sequential"}, "seed": seed, "goal": "inputs",
        "threat": "eavesdropper", "aux": {"name": "same", "n": None, "labels": True},
        "train": {"epochs": 1}, "evaluate": {"targets": 9},
    }  # fmt: skip
    cell |= {name: more.pop(name) for name in list(more) if name in cell}
    made = {
        "cell": cell,
        "labels": {"dataset": "ecg_synthetic", "model": "ecg_cnn", "defense": defense, "attack": attack},
        "hashes": {kind: hash_of(kind, cell[kind]["name"]) for kind in specs},
        "versions": {"splitleak": __version__},
        "flags": [],
        "status": "done",
    }
    if advantage is None:
        return made | {"status": "failed", "why": "no idea"} | more
    scores = {
        "metrics": {"advantage": advantage, "mse": 0.01, "psnr": 20.0},
        "utility_metric": "accuracy", "utility": utility, "utility_floor": 0.2, "bytes_up": 2056, "bytes_down": 2048,
        "seconds_train": 2.0, "seconds_attack": 1.0, "epsilon": None, "detected_at": None,
    }  # fmt: skip
    return made | scores | more


def rows(*records: dict[str, Any]) -> dict[str, Any]:
    """The leaderboard's rows by defence, attack and threat, each as a dict without its empty places."""
    board = leaderboard(records)
    return {
        f"{row['defense']} {row['attack']} {row['threat']}": {k: v for k, v in row.items() if v is not None and v == v}
        for row in board.to_dict("records")
    }


def only(*records: dict[str, Any]) -> dict[str, Any]:
    (row,) = rows(*records).values()
    return dict(row)


def test_columns_are_the_contract_in_its_order() -> None:
    assert ", ".join(leaderboard([record()]).columns) == CONTRACT


def test_a_row_is_a_cell_but_for_its_seed() -> None:
    row = only(record(seed=0), record(seed=1, advantage=0.7))
    assert (row["n_seeds"], row["advantage"], row["status"]) == (2, pytest.approx(0.6), "done")
    different = [{"cut": 1}, {"protocol": "u_shape"}, {"threat": "oracle"}, {"goal": "labels"}]
    different += [{"clients": {"n": 2, "mode": "parallel"}}, {"aux": {"name": "none", "n": None, "labels": True}}]
    different += [{"train": {"epochs": 2}}, {"evaluate": {"targets": 8}}]
    assert len(leaderboard([record(), *(record(**other) for other in different)])) == 1 + len(different)


def test_interval_is_students_over_seeds() -> None:
    mean, half = interval([1.0, 2.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(4.302653 / math.sqrt(3), rel=1e-6))  # t(0.975, 2) = 4.302653
    assert interval([0.4]) == (0.4, None)
    assert interval([]) == (None, None)


def test_interval_of_one_seed_is_empty() -> None:
    assert not {"advantage_ci95", "utility_ci95"} & set(only(record()))
    assert only(record(seed=0), record(seed=1))["advantage_ci95"] == 0


def test_drops_are_paired_by_seed() -> None:
    """Seeds differ by far more than the defence changes: unpaired, the drop would drown."""
    plain = [record(seed=s, advantage=a, utility=u) for s, a, u in ((0, 0.2, 0.6), (1, 0.5, 0.8), (2, 0.8, 1.0))]
    noisy = [(0, 0.1, 0.5), (1, 0.39, 0.71), (2, 0.71, 0.89), (3, 0.99, 0.1)]  # nothing to pair the last one with
    found = rows(*plain, *(record("channel", "laplace_range(epsilon=5)", s, a, u) for s, a, u in noisy))
    row = found["laplace_range(epsilon=5) channel eavesdropper"]
    assert (row["n_seeds"], row["advantage_drop"], row["utility_drop"]) == (4, pytest.approx(0.1), pytest.approx(0.1))
    assert row["advantage_drop_ci95"] == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-5)
    assert not {"advantage_drop", "utility_drop"} & set(found["none channel eavesdropper"])


def test_drop_is_empty_without_an_undefended_row() -> None:
    assert "advantage_drop" not in only(record(defense="laplace_range"))


def test_attack_that_works_nowhere_is_flagged_in_all_its_rows_and_never_the_worst() -> None:
    found = rows(
        record("channel", advantage=0.01), record("channel", "laplace_range", advantage=0.015),
        record("inverse_network", advantage=0.9), record("inverse_network", "laplace_range", advantage=0.0),
    )  # fmt: skip
    for defense, worst in (("none", 0.9), ("laplace_range", 0.0)):
        row = found[f"{defense} channel eavesdropper"]
        assert "attack-failed" in row["flags"].split()
        assert row["worst"] == worst
        assert "attack-failed" not in found[f"{defense} inverse_network eavesdropper"]["flags"]


def test_what_an_attack_finds_behind_a_defence_counts_even_if_it_fails_undefended() -> None:
    found = rows(
        record("channel", advantage=-0.3), record("channel", "laplace_range", advantage=0.6),
        record("inverse_network", advantage=0.9), record("inverse_network", "laplace_range", advantage=0.3),
    )  # fmt: skip
    assert found["laplace_range channel eavesdropper"]["worst"] == 0.6
    assert "attack-failed" not in found["laplace_range channel eavesdropper"]["flags"].split()
    assert "attack-failed" in found["none channel eavesdropper"]["flags"].split()


def test_of_two_classes_an_order_without_a_threshold_is_a_leak() -> None:
    row = only(record("norm", metrics={"advantage": -0.15, "signed_auc": 0.88}))
    assert (row["advantage"], row["worst"], row["flags"]) == (-0.15, 0.88, "few-seeds worst-partial")


def test_attack_beaten_by_a_defence_alone_is_below_blind() -> None:
    found = rows(record(advantage=0.9), record(defense="laplace_range", advantage=-0.1))
    assert found["laplace_range channel eavesdropper"]["flags"].split() == ["below-blind", "few-seeds", "worst-partial"]
    assert found["none channel eavesdropper"]["flags"].split() == ["few-seeds", "worst-partial"]


def test_control_is_never_flagged_as_failed_and_never_the_worst() -> None:
    row = only(record("blind", advantage=0.0))
    assert row["flags"].split() == ["few-seeds", "worst-partial"]
    assert "worst" not in row


def test_worst_is_over_threats_that_hold_no_more() -> None:
    strength = {"eavesdropper": 0.3, "honest_server": 0.2, "query_server": 0.6, "malicious_server": 0.9, "oracle": 0.95}
    found = rows(*(record(advantage=a, threat=t) for t, a in strength.items()))
    worst = {name.split()[2]: row["worst"] for name, row in found.items()}
    assert worst == {
        "eavesdropper": 0.3, "honest_server": 0.3, "query_server": 0.6, "malicious_server": 0.9, "oracle": 0.95,
    }  # fmt: skip


def test_worst_keeps_to_its_own_victim_and_goal() -> None:
    found = leaderboard([record(advantage=0.3), record(advantage=0.8, goal="labels"), record(advantage=0.9, cut=1)])
    assert dict(zip(found["advantage"], found["worst"], strict=True)) == {0.3: 0.3, 0.8: 0.8, 0.9: 0.9}


def test_worst_is_the_strongest_mean_and_not_the_luckiest_seed() -> None:
    lucky = [record("channel", seed=s, advantage=a) for s, a in ((0, 0.9), (1, 0.1))]
    steady = [record("inverse_network", seed=s, advantage=0.6) for s in (0, 1)]
    assert {row["worst"] for row in rows(*lucky, *steady).values()} == {0.6}


@pytest.mark.parametrize(("utility", "collapsed"), [(0.54, True), (0.56, False)])
def test_collapse_is_half_of_what_is_above_a_constant_answer(utility: float, collapsed: bool) -> None:
    found = rows(record(utility=0.9), record(defense="laplace_range", utility=utility))  # half way from 0.2 to 0.9
    assert ("utility-collapse" in found["laplace_range channel eavesdropper"]["flags"]) is collapsed
    assert "utility-collapse" not in found["none channel eavesdropper"]["flags"]


def test_few_seeds_are_fewer_than_three() -> None:
    assert only(*(record(seed=s) for s in range(2)))["flags"].split() == ["few-seeds", "worst-partial"]
    assert only(*(record(seed=s) for s in range(3)))["flags"] == "worst-partial"


@pytest.mark.parametrize("kind", ["dataset", "model", "defense", "attack"])
def test_row_is_stale_when_a_plugins_file_has_changed_since(kind: str) -> None:
    old = record()
    old["hashes"][kind] = "0" * 16
    assert "stale" in only(old)["flags"].split()
    assert "stale" not in only(record())["flags"].split()


def test_row_of_a_plugin_that_is_gone_is_stale() -> None:
    old = record()
    old["cell"]["attack"] = {"name": "no_longer_there"}
    assert "stale" in only(old)["flags"].split()


def test_row_of_another_version_is_stale() -> None:
    row = only(record(versions={"splitleak": "0.0.1"}))
    assert ("stale" in row["flags"].split(), row["version"]) == (True, "0.0.1")


def test_flags_of_the_data_the_null_twin_and_detection_are_told() -> None:
    twin = {"metrics": {"advantage": 0.3}, "leaks": True, "p": None}
    row = only(record(null=twin, detected_at=7, flags=["patients-shared"]))
    assert row["flags"].split() == ["null-leak", "few-seeds", "worst-partial", "detected", "patients-shared"]
    assert (row["null_advantage"], row["detected_at"]) == (0.3, 7)


def test_null_advantage_is_of_the_seeds_that_have_a_twin() -> None:
    twin = {"metrics": {"advantage": -0.2}, "leaks": False, "p": None}
    assert only(record(seed=0, null=twin), record(seed=1))["null_advantage"] == -0.2


def test_metrics_that_do_not_apply_are_empty(tmp_path: Path) -> None:
    row = only(record())
    assert (row["mse"], row["psnr"]) == (0.01, 20.0)
    assert not {"ssim", "auc", "label_accuracy", "epsilon", "utility_attacked", "detected_at"} & set(row)
    write_csv(leaderboard([record()]), tmp_path / "all.csv")
    head, line = (tmp_path / "all.csv").read_text().splitlines()
    assert head.replace(",", ", ") == CONTRACT
    told = dict(zip(head.split(","), line.split(","), strict=True))
    assert (told["ssim"], told["advantage_ci95"], told["cut"], told["bytes_up"]) == ("", "", "2", "2056")


def test_failed_row_has_its_status_and_no_number() -> None:
    row = only(record(advantage=None))
    assert row["status"] == "failed"
    assert row["n_seeds"] == 0
    assert not {"advantage", "utility", "worst", "mse"} & set(row)


def test_a_row_whose_seeds_partly_failed_says_so_and_counts_the_others() -> None:
    row = only(record(seed=0), record(seed=1, advantage=None), record(seed=2, advantage=0.7))
    assert (row["status"], row["n_seeds"], row["advantage"]) == ("failed", 2, pytest.approx(0.6))
    assert only(record(), record(seed=1, advantage=None, status="diverged"))["status"] == "diverged"


def test_parameters_stand_in_the_names() -> None:
    def label(kind: plugins.Kind, **spec: Any) -> str:
        made = plugins.make(kind, spec, HERE)
        return plugins.label(kind, {"name": spec["name"]} | made.parameters(), HERE)

    assert label("defense", name="laplace_range", epsilon=5) == "laplace_range(epsilon=5)"
    assert label("defense", name="laplace_range", epsilon=0.5) == "laplace_range(epsilon=0.5)"
    assert label("defense", name="none") == "none"
    assert label("attack", name="inverse_network") == "inverse_network"
    assert label("attack", name="inverse_network", steps=7) == "inverse_network(steps=7)"
    assert label("dataset", name="ecg_synthetic", split="patients") == "ecg_synthetic(split=patients)"


def test_clients_and_auxiliary_records_stand_in_their_columns() -> None:
    row = only(record(clients={"n": 2, "mode": "parallel"}, aux={"name": "same", "n": 500, "labels": False}))
    assert (row["clients"], row["aux"]) == ("2 parallel", "same(n=500, labels=False)")
    assert (only(record())["clients"], only(record())["aux"]) == ("1", "same")


def test_undefended_rows_and_the_control_come_first() -> None:
    shuffled = [record("inverse_network", "laplace_range"), record("blind", "laplace_range"), record(), record("blind")]
    board = leaderboard(shuffled)
    told = list(zip(board["defense"], board["attack"], strict=True))
    assert told == [
        ("none", "blind"), ("none", "channel"), ("laplace_range", "blind"), ("laplace_range", "inverse_network"),
    ]  # fmt: skip


def test_order_of_the_records_does_not_matter() -> None:
    records = [record(seed=s, advantage=0.1 * s, defense=d) for s in range(3) for d in ("none", "laplace_range")]
    pd.testing.assert_frame_equal(leaderboard(records), leaderboard(records[::-1]))


def test_printed_table_has_a_line_a_row_and_its_half_width() -> None:
    board = leaderboard([record(seed=0, advantage=0.4), record(seed=1, advantage=0.6), record("blind", advantage=None)])
    text = long_table(board)
    assert text.startswith("ecg_synthetic / ecg_cnn, cut 2, vanilla\n")
    assert "0.500±1.271" in text  # t(0.975, 1) * 0.1
    assert "failed" in text


@pytest.mark.parametrize(
    ("advantage", "interval", "off"),
    [(0.0, 0.0, False), (0.019, 0.0, False), (0.07, 0.03, True), (0.07, 0.08, False), (-0.2, 0.05, True)],
)
def test_a_control_away_from_its_floor_is_flagged(advantage: float, interval: float, off: bool) -> None:
    """Each seed by its own interval over targets: Student's over two seeds would excuse nearly everything."""
    pair = [record("blind", seed=k, advantage=a, bootstrap_ci95=interval) for k, a in enumerate((0.0, advantage))]
    assert ("control-off-floor" in only(*pair)["flags"].split()) is off
    assert "control-off-floor" not in only(record("channel", advantage=-3.0, bootstrap_ci95=0.1))["flags"]
