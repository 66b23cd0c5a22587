"""Goals whose answers a dataset does not have: one line before anything is trained, or left out of a suite."""

from __future__ import annotations

from typing import Any

import pytest

PEOPLE = '[{ name = "ecg_synthetic", n = 500, split = "patients" }]'
UNKNOWN = {
    "no people": ('["linkage"]', '["./toy_signals.py"]', "does not tell whose a record is (legal: a dataset with"),
    "no people of a suite": (
        '[{ name = "standard_1", goal = "linkage" }]', '["./toy_signals.py"]', "does not tell whose a record is (legal",
    ),
    "no property": ('["property_probe"]', '["./toy_signals.py"]', "names no property (legal: cxr_lung, ecg and"),
    "no property chosen": ('["property_probe"]', PEOPLE, 'names no property (legal: property = "tall")'),
    "no property of a suite": (
        '[{ name = "standard", goal = "property" }]', PEOPLE, 'names no property (legal: property = "tall")',
    ),
    "blind": ('[{ name = "blind", goal = "property" }]', PEOPLE, 'names no property (legal: property = "tall")'),
    "unknown property": (
        '["property_probe"]', '[{ name = "ecg_synthetic", property = "age" }]', "property: must be 'tall'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("attack", "dataset", "said"), [pytest.param(*case, id=name.replace(" ", "-")) for name, case in UNKNOWN.items()]
)
def test_an_answer_that_is_not_there_is_one_line(
    lab: Any, main: Any, command: str, attack: str, dataset: str, said: str
) -> None:
    lab.matrix(f"attack = {attack}", dataset=dataset)
    assert said in main(command, "m.toml").line
    assert not lab.records("runs/m")


@pytest.mark.slow
def test_a_suite_leaves_out_in_words_what_nobody_asked_for(lab: Any, main: Any) -> None:
    lab.matrix('attack = [{ name = "standard", goal = ["membership"] }]')
    named = main("check", "m.toml").out
    assert "left out" not in named
    lab.matrix('attack = ["standard"]\nthreat = ["eavesdropper"]')
    whole = main("check", "m.toml").out
    assert "goal property left out: dataset 'toy_signals' names no property" in whole
    assert "goal linkage left out: dataset 'toy_signals' does not tell whose a record is" in whole
    lab.matrix('attack = ["standard"]\nthreat = ["eavesdropper"]', dataset=PEOPLE)
    people = main("check", "m.toml").out
    assert "goal property left out" in people
    assert "goal linkage left out" not in people
