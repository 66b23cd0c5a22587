"""The summary of 80 columns: the strongest working attack of each defence and threat, from tables made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from splitleak.report.strongest import defenses_of
from splitleak.report.summary import WIDTH, summary
from splitleak.report.table import COLUMNS
from splitleak.report.text import fit_labels, short_number

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
TABLES = sorted(path for path in REFERENCE.glob("*.csv") if ",worst," in path.read_text().partition("\n")[0])


def row(
    attack: str = "channel",
    defense: str = "none",
    advantage: float | None = 0.5,
    worst: float | None = 0.5,
    **more: Any,
) -> dict[str, Any]:
    """A row of the leaderboard; advantage None: it was not measured."""
    made: dict[str, Any] = dict.fromkeys(COLUMNS)
    made |= {
        "dataset": "ecg", "model": "ecg_cnn", "cut": 2, "protocol": "vanilla", "clients": "1", "aux": "same",
        "threat": "eavesdropper", "goal": "inputs", "attack": attack, "defense": defense, "worst": worst,
        "n_seeds": 3, "utility_metric": "accuracy", "utility": 0.9, "advantage": advantage, "reid_top1": 0.25,
        "flags": "", "status": "done", "version": "0.1.0",
    }  # fmt: skip
    if advantage is None:
        made |= dict.fromkeys(("utility_metric", "utility", "reid_top1", "worst")) | {"n_seeds": 0, "status": "failed"}
    return made | more


def text(*rows: dict[str, Any], ranked: bool = False) -> str:
    return summary(pd.DataFrame(rows, columns=list(COLUMNS)), ranked)


def line(whole: str, start: str) -> str:
    """The one line that starts with this, blanks aside."""
    (found,) = [line for line in whole.splitlines() if line.strip().startswith(start)]
    return " ".join(found.split())


@pytest.mark.parametrize("ranked", [True, False])
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_reference_table_fits_80_columns(path: Path, ranked: bool) -> None:
    board = pd.read_csv(path)
    whole = summary(board, ranked)
    assert max(map(len, whole.splitlines())) <= WIDTH
    for name in board["defense"]:
        assert name.partition("(")[0][:12] in whole


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_strongest_attack_is_the_one_that_the_worst_case_is_of(path: Path) -> None:
    rows = [{k: None if v != v else v for k, v in row.items()} for row in pd.read_csv(path).to_dict("records")]
    shared = ("dataset", "model", "cut", "protocol", "clients", "aux", "goal")
    for victim in {tuple(row[name] for name in shared) for row in rows}:
        for defense in defenses_of([row for row in rows if tuple(row[name] for name in shared) == victim]):
            for best in defense.threats:
                worst = [row["worst"] for row in defense.rows if row["threat"] == best.threat]
                assert best.advantage in worst or not any((value or 0) > 0 for value in worst)
                if best.row is not None:
                    area = best.row["auc"]
                    order = -1 if area is None else 2 * area - 1
                    assert max(best.row["advantage"], order) == pytest.approx(best.advantage, abs=2e-5)


def test_long_names_fit_and_different_defences_stay_different() -> None:
    names = [f"a_defence_of_a_long_name(first={'x' * 60}, weight={w}, last={'y' * 40})" for w in range(3)]
    names += [f"{'z' * 70}_{i}" for i in range(2)]
    rows = [
        row("attack" * 20, name, dataset="d" * 90, model="m" * 90, threat=threat, protocol="vanilla")
        for name in names
        for threat in ("eavesdropper", "malicious_server")
    ]
    for some in (rows, rows[::2]):  # several threats, one threat
        whole = text(*some)
        assert max(map(len, whole.splitlines())) <= WIDTH
        assert all(f"weight={w}" in whole for w in range(3))
        assert "…2" in whole  # the two that differ in their last letter


def test_a_line_has_the_strongest_attack_with_its_numbers() -> None:
    whole = text(
        row("blind", advantage=0.0, worst=0.7), row("channel", advantage=0.3, worst=0.7),
        row("other", advantage=0.7, worst=0.7, advantage_ci95=0.02, reid_top1=0.5),
    )  # fmt: skip
    assert line(whole, "none") == "none .900 other .700±.020 .500"
    assert "threat eavesdropper" in line(whole, "Goal inputs")


def test_attacker_that_holds_more_has_the_attacks_of_one_that_holds_less() -> None:
    whole = text(
        row("channel", advantage=0.6, worst=0.6),
        row("pcat", threat="honest_server", advantage=0.1, worst=0.6),
        row("inverse_network", threat="query_server", advantage=0.9, worst=0.9),
    )
    assert line(whole, "eavesdropper") == "eavesdropper channel .600 .250"
    assert line(whole, "honest_server") == "honest_server channel .600 .250"
    assert line(whole, "query_server") == "query_server inverse_network .900 .250"


def test_attack_that_failed_on_the_undefended_victim_is_never_the_strongest() -> None:
    whole = text(
        row("channel", advantage=0.01, worst=0.4, flags="attack-failed"), row("other", advantage=0.4, worst=0.4),
        row("channel", "noise", advantage=0.8, worst=0.2, flags="attack-failed"),
        row("other", "noise", advantage=0.2, worst=0.2),
    )  # fmt: skip
    assert line(whole, "noise") == "noise .900 other .200 .250"


def test_nothing_is_called_defended() -> None:
    whole = text(
        row("channel", advantage=0.5, worst=0.5), row("channel", "noise", advantage=-0.2, worst=0.0),
        row("channel", "odd", advantage=0.01, worst=None), row("blind", "bare", advantage=0.0, worst=None),
        row("channel", "gone", advantage=None),
    )  # fmt: skip
    assert line(whole, "noise") == "noise .900 no attack beat guessing"
    assert line(whole, "odd") == "odd .900 no attack beat guessing"
    assert line(whole, "bare") == "bare .900 only blind was run"
    assert line(whole, "gone") == "gone not measured (failed)"
    assert "1 row failed" in line(whole, "Not (fully) measured")
    assert "defended" not in whole


def test_goals_stand_apart_with_their_own_measure() -> None:
    labels = {"goal": "labels", "reid_top1": None, "label_accuracy": 0.75}
    members = {"goal": "membership", "reid_top1": None, "auc": 0.6, "threat": "honest_server"}
    whole = text(row(), row("norm", advantage=0.2, worst=0.2, **labels), row("membership", worst=0.2, **members))
    heads = [" ".join(head.split()) for head in whole.splitlines() if head.startswith("defense")]
    assert [head.split()[-1] for head in heads] == ["re-id", "correct", "AUC"]
    assert [head.split()[1] for head in whole.splitlines() if head.startswith("Goal")] == [
        "inputs", "labels", "membership",
    ]  # fmt: skip
    assert "norm .200 .750" in " ".join(whole.split())


def test_of_two_classes_the_order_counts_and_has_no_interval_of_the_advantage() -> None:
    whole = text(row("norm", advantage=-0.15, worst=0.8, advantage_ci95=0.1, auc=0.9, goal="labels"))
    assert "norm .800" in line(whole, "none")
    assert "±" not in line(whole, "none")


def test_flags_of_all_rows_stand_above_and_others_beside_their_defence() -> None:
    whole = text(
        row(flags="few-seeds"), row(defense="noise", flags="below-blind utility-collapse few-seeds"),
        row("gone", advantage=None),
    )  # fmt: skip
    above, _, below = whole.partition("\necg / ecg_cnn, cut 2, vanilla\n")
    assert "few-seeds: fewer than three seeds" in above
    assert "few-seeds" not in below
    assert below.count("utility-collapse") == 2  # at the defence, and what it means
    assert "below-blind" not in whole


def test_ranked_defences_stand_by_their_worst_case_and_unproven_ones_last() -> None:
    rows = [
        row(worst=0.85, advantage=0.85), row(defense="weak", worst=0.8, advantage=0.8),
        row(defense="unproven", worst=None, advantage=0.0), row(defense="strong", worst=0.0, advantage=-1.0),
        row(defense="strong", threat="oracle", worst=0.95, advantage=0.95),
    ]  # fmt: skip
    starts = [line.split()[0] for line in text(*rows, ranked=True).splitlines() if " .900" in line]  # accuracy
    assert starts == ["strong", "weak", "none", "unproven"]
    starts = [line.split()[0] for line in text(*rows).splitlines() if " .900" in line]
    assert starts == ["none", "weak", "unproven", "strong"]


def test_victims_of_several_settings_stand_in_blocks_of_their_own() -> None:
    longer = "epochs=100 batch_size=64 lr=0.0001 optimizer=sgd momentum=0.5 schedule=cosine targets=64 hints=5"
    whole = text(row(), row(advantage=0.7, worst=0.7, settings="epochs=5"), row(settings=longer), row(cut=1))
    titles = [line for line in whole.splitlines() if line.startswith("ecg / ecg_cnn")]
    assert titles[0].endswith("vanilla, default settings")
    assert titles[1].endswith("vanilla, epochs=5")
    assert titles[3] == "ecg / ecg_cnn, cut 1, vanilla"  # of one setting alone
    assert longer in " ".join(whole.split())
    assert [" ".join(line.split()) for line in whole.splitlines() if line.startswith("none")] == [
        "none .900 channel .500 .250", "none .900 channel .700 .250", *["none .900 channel .500 .250"] * 2,
    ]  # fmt: skip
    assert max(map(len, whole.splitlines())) <= WIDTH


@pytest.mark.parametrize(
    ("value", "half", "said"),
    [(0.975, 0.0083, ".975±.008"), (-0.5, None, "-.500"), (1.0, None, "1.000"), (0, None, ".000"), (None, None, ""),
     (float("nan"), 0.1, ""), (12345.6, None, "1.23e+04"), (0.5, float("nan"), ".500")],
)  # fmt: skip
def test_numbers_are_short(value: float | None, half: float | None, said: str) -> None:
    assert short_number(value, half) == said


def test_labels_lose_what_they_share_first() -> None:
    labels = ["noise(epsilon=1, clip=5, delta=1e-05)", "noise(epsilon=2, clip=5, delta=1e-05)", "none"]
    assert list(fit_labels(labels, 20).values()) == ["noise(epsilon=1, …)", "noise(epsilon=2, …)", "none"]
    assert list(fit_labels(labels, 80).values()) == labels
