"""What a verdict is from: the columns `suite` and `best_known`, the flag `worst-partial`, and the order of defences."""

from __future__ import annotations

from typing import Any

import pytest

from splitleak.contract import threats
from splitleak.contract.nouns import Goal
from splitleak.plan import suites
from splitleak.plan.suites import Listed
from splitleak.report.table import leaderboard

from .test_leaderboard import record
from .test_summary import line, row, text

SUITE = suites.find("standard")
ORDER = ("eavesdropper", "honest_server", "query_server", "white_box")  # each holds what the one before holds


def asked(protocol: str = "vanilla", goal: Goal = Goal.INPUTS) -> list[Listed]:
    """The attacks of the suite that can run."""
    return [one for one in SUITE.known(protocol) if one.goal is goal and not one.objection(protocol, threats.DATA)]


def of(one: Listed, seed: int = 0, **more: Any) -> dict[str, Any]:
    """The record of an attack of the suite."""
    made = record(str(one.plugin), seed=seed, threat=one.threat, goal=one.goal.value, **more)
    made["cell"]["attack"] = one.attack.spec
    return made


def suite_by_threat(*records: dict[str, Any]) -> dict[str, str | None]:
    board = leaderboard(records)
    found = {}
    for threat, name, flags in zip(board["threat"], board["suite"], board["flags"], strict=True):
        name = None if name != name else name
        assert ("worst-partial" in flags.split()) is (name is None)
        assert found.setdefault(threat, name) == name
    return found


def test_a_worst_case_is_complete_when_every_attack_that_can_run_has_finished_on_every_seed() -> None:
    whole = [of(one, seed) for one in asked() for seed in range(3)]
    assert suite_by_threat(*whole) == {one.threat: SUITE.name for one in asked()}


@pytest.mark.parametrize("one", asked(), ids=lambda one: str(one.plugin))
@pytest.mark.parametrize("lost", ["all", "one seed", "failed", "other parameters"])
def test_a_missing_attack_makes_its_threat_partial_and_all_that_hold_more(one: Listed, lost: str) -> None:
    kept = [of(other, seed) for other in asked() for seed in range(2) if other is not one]
    if lost != "all":
        kept.append(of(one, 0))
    if lost == "failed":
        kept.append(of(one, 1, advantage=None))
    if lost == "other parameters":
        kept.append(of(one, 1))
        for made in kept[-2:]:
            made["cell"]["attack"] = made["cell"]["attack"] | {"more": 1}
    held = threats.THREATS[one.threat].on("vanilla")
    for threat, name in suite_by_threat(*kept).items():
        assert (name is None) is (not held & ~threats.THREATS[threat].on("vanilla")), threat


@pytest.mark.parametrize(
    ("given", "absent"),
    [
        ({"protocol": "u_shape"}, "splitspy"),  # needs labels that cross the wire
        ({"protocol": "u_shape", "utility_metric": "iou"}, "splitspy"),
        ({"aux": {"name": "same", "n": None, "labels": False}}, "pcat(align=10)"),
        ({"aux": {"name": "none", "n": None, "labels": True}}, "channel"),
    ],
)
def test_what_cannot_run_is_not_asked_for(given: dict[str, Any], absent: str) -> None:
    protocol, aux = given.get("protocol", "vanilla"), threats.DATA
    if "aux" in given:
        aux = threats.Grant.AUX if given["aux"]["name"] == "same" else threats.Grant(0)
    can = [one for one in SUITE.known(protocol) if one.goal is Goal.INPUTS and not one.objection(protocol, aux)]
    assert absent not in {str(one.plugin) for one in can}
    assert set(suite_by_threat(*(of(one, **given) for one in can)).values()) == {SUITE.name}
    assert None in suite_by_threat(*(of(one, **given) for one in can[1:])).values()


def test_an_attack_that_is_not_for_the_task_is_not_asked_for() -> None:
    labels = asked("u_shape", Goal.LABELS)
    fitting = [one for one in labels if "mask" in one.plugin.tasks]
    assert 0 < len(fitting) < len(labels)
    masks, classes = ({"protocol": "u_shape", "utility_metric": metric} for metric in ("iou", "accuracy"))
    assert set(suite_by_threat(*(of(one, **masks) for one in fitting)).values()) == {SUITE.name}
    assert set(suite_by_threat(*(of(one, **classes) for one in fitting)).values()) == {None}


def test_the_seeds_are_those_of_the_victim_whatever_the_goal() -> None:
    members = [of(one) for one in asked(goal=Goal.MEMBERSHIP)]
    assert set(suite_by_threat(*members).values()) == {SUITE.name}
    assert set(suite_by_threat(*members, record("blind", seed=1, threat="honest_server")).values()) == {None}
    other = record("blind", "nopeek", seed=1, threat="white_box", goal="membership")  # another victim
    assert suite_by_threat(*members, other) == {
        "eavesdropper": SUITE.name,
        "honest_server": SUITE.name,
        "auditor": SUITE.name,
        "white_box": None,
    }


def test_the_newest_suite_that_is_complete_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    stronger = suites.Suite("standard_2", SUITE.about, tuple(one for one in SUITE.attacks if one.threat != "white_box"))
    monkeypatch.setattr(suites, "newest_first", lambda: [stronger, SUITE])
    whole = [of(one) for one in asked()]
    assert set(suite_by_threat(*whole).values()) == {"standard_2"}
    weak = [made for made in whole if made["cell"]["threat"] != "query_server"]
    assert suite_by_threat(*weak)["white_box"] is None
    monkeypatch.setattr(suites, "newest_first", lambda: [SUITE, stronger])
    without = [made for made in whole if made["cell"]["threat"] != "white_box"]
    assert suite_by_threat(*without, record(threat="white_box"))["white_box"] == "standard_2"


def best_known(*records: dict[str, Any]) -> dict[str, float]:
    board = leaderboard(records)
    return dict(zip(board["threat"], board["best_known"], strict=True))


def test_best_known_is_the_highest_record_of_threats_that_hold_no_more() -> None:
    strengths = dict(zip(ORDER, (0.3, 0.2, 0.6, 0.5), strict=True))
    found = best_known(*(record(threat=threat, advantage=a) for threat, a in strengths.items()))
    assert found == dict(zip(ORDER, (0.3, 0.3, 0.6, 0.6), strict=True))
    assert best_known(record(advantage=0.1), record(seed=1, advantage=0.7))["eavesdropper"] == 0.7  # not the mean
    assert best_known(record(advantage=-0.4))["eavesdropper"] == 0.0
    assert best_known(record(metrics={"advantage": -0.1, "signed_auc": 0.8}))["eavesdropper"] == 0.8
    assert best_known(record("blind", advantage=0.5))["eavesdropper"] != 0.5  # NaN: no attack at all


def test_best_known_counts_an_attack_that_does_not_work_and_worst_does_not() -> None:
    board = leaderboard([record(advantage=0.015), record(advantage=0.01, seed=1), record("unsplit", advantage=-0.2)])
    assert board["worst"].isna().all()
    assert set(board["best_known"]) == {0.015}


def test_partial_worst_cases_stand_behind_complete_ones_and_say_so() -> None:
    partial = {"flags": "few-seeds worst-partial"}
    whole = text(
        row(worst=0.9, advantage=0.9), row(defense="safe", worst=0.1, advantage=0.1),
        row(defense="untried", worst=0.0, advantage=-0.3, **partial), row(defense="bare", worst=None, **partial),
        ranked=True,
    )  # fmt: skip
    starts = [part.split()[0] for part in whole.splitlines() if " .900 " in part]
    assert starts == ["safe", "none", "untried", "bare"]
    assert line(whole, "untried") == "untried .900 no attack beat guessing (partial)"
    assert whole.count("worst-partial") == 3  # at both defences, and what it means
    assert "defended" not in whole


def test_a_table_without_any_suite_says_so_once() -> None:
    whole = text(*(row(defense=name, flags="worst-partial") for name in ("none", "noise", "nopeek")))
    assert whole.count("partial") == 1
    assert "worst-partial: no suite is complete" in whole.partition("\n\n")[0]


def test_a_bound_that_is_partial_does_not_move_a_defence() -> None:
    """`oracle` is no real attacker, and its worst case does not rank."""
    rows = [
        row(worst=0.9),
        row(defense="noise", worst=0.2),
        row(defense="noise", threat="oracle", flags="worst-partial"),
    ]
    starts = [part.split()[0] for part in text(*rows, ranked=True).splitlines() if " .900" in part]
    assert [name for name in starts if name != "eavesdropper"] == ["noise", "none"]
