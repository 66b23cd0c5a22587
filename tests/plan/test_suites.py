"""Suites: what their files may say, and that a suite on the attack axis is the same as its attacks written by hand."""

from __future__ import annotations

import copy
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from splitleak.contract import Goal, threats
from splitleak.contract.errors import BadInput
from splitleak.plan import matrix, plugins, suites
from splitleak.plan.suites import Listed

ROOT = Path(__file__).parents[2]
HEAD: dict[str, Any] = {
    "dataset": ["ecg_synthetic"],
    "model": ["ecg_cnn"],
    "defense": ["none", "nopeek"],
    "seed": [0, 1],
}
EVERY = [(suite, one) for suite in suites.newest_first() for one in suite.attacks]
PCAT = {"name": "pcat", "align": 10}
QUERY_FREE = {"name": "query_free", "start": "mean", "restarts": 4}
UNSPLIT = {"name": "unsplit", "start": "mean", "restarts": 4}
SHADOWS = [{"name": "lira", "shadows": 8}, {"name": "rmia", "shadows": 8}]
SIMILARITY: list[Any] = [
    "cosine", "similarity", {"name": "similarity", "source": "activation"}, "gradient_match", "noisy_labels"
]  # fmt: skip
PEOPLE: list[Any] = [
    "property_probe", {"name": "property_probe", "source": "substitute"}, "linkage",
    {"name": "linkage", "learned": True}, {"name": "linkage", "learned": True, "source": "substitute"},
]  # fmt: skip
BY_HAND: dict[str, list[Any]] = {  # the attacks of standard_1 that a protocol allows, in any order
    "vanilla": [
        "channel", "fora", "sdar", QUERY_FREE, PCAT, UNSPLIT, "unsplit", "inverse_network", "map_search",
        "fsha",
        "splitspy", "urvfl", "oracle", "norm", "exploit", *SIMILARITY, "completion", "membership",
        {"name": "membership", "source": "gradient"}, *SHADOWS, *PEOPLE,
    ],
    "u_shape": [
        "channel", "fora", "sdar", QUERY_FREE, PCAT, UNSPLIT, "unsplit", "inverse_network", "map_search",
        "fsha", "oracle", "norm", "exploit", *SIMILARITY, "inverse_labels",
        {"name": "membership", "source": "gradient"}, *SHADOWS, *PEOPLE,
    ],
    "fedavg": ["gradient_inversion"],
}  # fmt: skip


def cells(**axes: Any) -> matrix.Matrix:
    return matrix.read({"matrix": HEAD | {k: v if isinstance(v, list) else [v] for k, v in axes.items()}})


def keys(found: matrix.Matrix) -> set[str]:
    return {cell.key for cell in found.cells}


# The files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suite", "one"), EVERY, ids=lambda x: x.name if isinstance(x, suites.Suite) else str(x.plugin)
)
def test_each_attack_of_a_suite_stands_at_the_weakest_threat_that_can_run_it(suite: suites.Suite, one: Listed) -> None:
    assert one.attack.spec == plugins.make("attack", one.attack.spec, Path()).spec(one.attack.spec["name"])
    assert one.plugin.goal is one.goal
    protocols = [p for p in threats.THREATS[one.threat].protocols if one.objection(p, threats.DATA) is None]
    weakest = {threats.first_legal(p, one.goal, one.plugin.needs, threats.DATA) for p in protocols}
    assert one.threat in weakest, suite.name


def test_no_attack_stands_twice_in_a_line() -> None:
    for suite in suites.newest_first():
        places = [(one.goal, one.threat, str(one.plugin)) for one in suite.attacks]
        assert len(places) == len(set(places))


def test_suites_are_data_of_the_package() -> None:
    """`pip install` leaves out files that are no Python unless they are named."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    files = [f.name for f in resources.files("splitleak.suites").iterdir() if f.name.endswith(".toml")]
    assert sorted(files) == [f"{name}.toml" for name in suites.names()]
    assert data["splitleak.suites"] == ["*.toml"]


def test_standard_is_the_newest_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert suites.find("standard").name == suites.names()[-1]
    monkeypatch.setattr(suites.resources, "files", lambda package: Path(ROOT / "none"))
    monkeypatch.setattr(Path, "iterdir", lambda path: (Path(f"standard_{n}.toml") for n in (10, 9, 2)))
    assert suites.names() == ["standard_2", "standard_9", "standard_10"]


ABOUT = {"what": "Toys.", "released": False}
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no about": ({"about": {}}, r"suite 'toy': \[about\]: what: field required"),
    "unknown word about it": ({"about": ABOUT | {"why": ""}}, r"\[about\]: no parameter 'why'"),
    "text for released": ({"about": ABOUT | {"released": "no"}}, r"\[about\]: released: must be a valid boolean"),
    "unknown goal": ({"imputs": {}}, "no goal 'imputs'; did you mean 'inputs'.*goals: inputs, labels"),
    "goal that is no section": ({"inputs": ["channel"]}, r"'inputs' must be a section, \[inputs\]"),
    "unknown threat": ({"inputs": {"whitebox": ["rmle"]}}, r"\[inputs\] 'whitebox': no such threat; did you mean 'whi"),
    "no list": ({"inputs": {"white_box": "rmle"}}, r"\[inputs\] 'white_box' must be a list of attacks that is not"),
    "empty list": ({"inputs": {"white_box": []}}, "must be a list of attacks that is not empty"),
    "number for an attack": ({"inputs": {"white_box": [3]}}, "each is a name or a table with a name, not 3"),
    "unknown attack": ({"inputs": {"white_box": ["rmel"]}}, r"\[inputs\] 'white_box': no attack named 'rmel'; did you"),
    "unknown parameter": (
        {"inputs": {"white_box": [{"name": "rmle", "step": 3}]}}, "attack 'rmle': no parameter 'step'; did you mean",
    ),
    "another goal": ({"labels": {"white_box": ["rmle"]}}, "attack 'rmle' has the goal inputs, not labels"),
    "not legal": (
        {"inputs": {"honest_server": ["rmle"]}}, "attack 'rmle' is not legal there: threat 'honest_server'.* BOTTOM",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"), [pytest.param(*case, id=name.replace(" ", "-")) for name, case in FAULTS.items()]
)
def test_one_line_about_a_file_of_a_suite(wrong: dict[str, Any], said: str) -> None:
    good = {"about": ABOUT, "inputs": {"white_box": ["rmle"]}}
    assert [str(one.plugin) for one in suites.checked("toy", copy.deepcopy(good)).attacks] == ["rmle"]
    with pytest.raises(BadInput) as raised:
        suites.checked("toy", good | wrong)
    assert re.search(said, str(raised.value))
    assert str(raised.value).startswith("suite 'toy': ")
    assert "\n" not in str(raised.value)


# The attack axis ----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", BY_HAND)
def test_a_suite_is_the_same_cells_as_its_attacks_by_hand(protocol: str) -> None:
    """Key by key: records of one are records of the other. `blind` and strangers are there without being named."""
    standard = cells(attack="standard", protocol=protocol)
    axes = HEAD | {"attack": ["blind", *BY_HAND[protocol]], "protocol": [protocol]}
    by_hand = matrix.read({"matrix": axes, "evaluate": {"control": True}})
    assert keys(standard) == keys(by_hand)
    assert keys(cells(attack="standard_1", protocol=protocol)) == keys(standard)
    assert not [cell.skip for cell in standard.cells if cell.skip and cell.defense["name"] == "none"]


def test_a_threat_axis_takes_the_lines_of_its_threats() -> None:
    found = cells(attack="standard", threat=["query_server", "white_box"])
    attacks = {(cell.threat, cell.attack["name"]) for cell in found.cells}
    assert attacks == {
        ("query_server", "inverse_network"),
        ("query_server", "property_probe"),
        ("query_server", "linkage"),
        ("white_box", "map_search"),
        ("query_server", "blind"),
        ("white_box", "blind"),
    }


def test_goals_restrict_a_suite() -> None:
    whole, labels = cells(attack="standard"), cells(attack={"name": "standard", "goal": "labels"})
    assert keys(labels) == {cell.key for cell in whole.cells if cell.goal == "labels"}
    two = cells(attack={"name": "standard", "goal": ["labels", "membership"]})
    assert keys(two) == {cell.key for cell in whole.cells if cell.goal in ("labels", "membership")}


def test_what_is_left_out_is_said_with_the_reason_where_a_user_would_wonder() -> None:
    assert cells(attack="standard").notes == ()  # in vanilla everybody but the thief holds the labels
    (spy, member) = cells(attack="standard", protocol="u_shape").notes
    assert re.search(
        "'standard_1' without splitspy, urvfl: threat 'malicious_server' under protocol 'u_shape'.* LABELS", spy
    )
    assert re.search("'standard_1' without membership: threat 'honest_server' .*does not grant LABELS", member)
    assert any(
        "no attack on labels, membership, property, linkage here (protocol 'fedavg')" in n
        for n in cells(attack="standard", protocol="fedavg").notes
    )
    asked = cells(attack={"name": "standard", "goal": "labels"}, threat="honest_server").notes
    all_of_them = "cosine, similarity, similarity(source=activation), gradient_match, noisy_labels"
    assert f"without {all_of_them}: threat 'honest_server' already" in asked[0]
    assert asked[1].endswith("has no attack on labels here (protocol 'vanilla', threat honest_server)")
    poor = cells(attack="standard", aux="none")
    assert any("without channel, fora: threat 'eavesdropper'" in note and "grant AUX" in note for note in poor.notes)
    assert "channel" not in {cell.attack["name"] for cell in poor.cells}


@pytest.mark.parametrize("tasks", ['"classes"', '("clases",)', '["classes"]'])
def test_tasks_of_an_attack_are_known_ones_in_a_tuple(lab: Any, main: Any, tasks: str) -> None:
    name = lab.attack("odd", "return view.smashed")
    text = (lab.folder / "odd.py").read_text()
    lab.write("odd.py", text.replace("    def run", f"    tasks = {tasks}\n    def run"))
    lab.matrix(f"attack = [{name}]")
    assert "attack './odd.py': `tasks` must be a tuple of classes, mask, value" in main("check", "m.toml").line


@pytest.mark.slow
def test_an_attack_is_skipped_where_it_is_not_for_the_task(run: Any) -> None:
    norm: dict[str, Any] = {"attack": ["norm", "inverse_labels"], "protocol": "u_shape", "model": "toy_chain"}
    for task, kind in (("value", "value"), ("classes", None)):
        norm["attack"][1] = {"name": "inverse_labels", "steps": 5, "width": 4}
        records = run(task, dataset={"name": "toy_flat", "task": task}, **norm, evaluate={"targets": 20})
        found = {record["cell"]["threat"]: (record["status"], record["why"]) for record in records}
        skipped = ("skipped", f"not for a task of kind {kind} (legal: classes)")
        assert found == {"eavesdropper": skipped if kind else ("done", None), "query_server": ("done", None)}


@pytest.mark.slow
def test_check_counts_the_cells_of_a_suite_and_takes_minutes_from_earlier_records(lab: Any, main: Any) -> None:
    lab.matrix('attack = [{ name = "standard", goal = "membership" }]')
    said = main("check", "m.toml").out
    assert "7 cells (0 skipped) on 1 victim and 8 shadows" in said  # four attacks, and blind under three threats
    assert main("run", "m.toml").status == 0
    after = main("check", "m.toml").out
    assert "records in runs/m)" in after
    assert Goal.MEMBERSHIP.value in {record["cell"]["goal"] for record in lab.records("runs/m").values()}
