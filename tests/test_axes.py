"""What a matrix may say beside its axes: attacks kept to some defences, and utility noted epoch by epoch."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from splitleak import matrix

Run = Callable[..., list[dict[str, Any]]]
DEFENSES = 'defense = ["none", "laplace_range", "gaussian"]\n'


def test_attack_is_kept_to_the_defences_that_it_is_against(lab: Any) -> None:
    attack = '"channel", { name = "./toy_peek.py", against = ["none", "gaussian"] }'
    cells = matrix.read(lab.matrix(f"{DEFENSES}attack = [{attack}]")).cells
    met = {(cell.attack["name"], cell.defense["name"]) for cell in cells}
    assert met == {("channel", d) for d in ("none", "laplace_range", "gaussian")} | {
        ("./toy_peek.py", d) for d in ("none", "gaussian")
    }
    assert not any("against" in cell.attack for cell in cells)


@pytest.mark.parametrize(
    ("against", "said"),
    [
        ('["laplace_rnge"]', r"attack 'channel' is against 'laplace_rnge', .*did you mean 'laplace_range'"),
        ("[]", "'against' must be a list of names of defences, not \\[\\]"),
        ('"none"', "'against' must be a list of names of defences, not 'none'"),
    ],
)
def test_one_line_about_a_defence_that_is_not_there(lab: Any, main: Any, against: str, said: str) -> None:
    matrix_file = lab.matrix(f'{DEFENSES}attack = [{{ name = "channel", against = {against} }}]')
    assert re.search(said, main("check", matrix_file).line)


@pytest.mark.parametrize("protocol", ["central", "vanilla", "u_shape"])
def test_utility_noted_after_every_epoch_changes_nothing(run: Run, protocol: str) -> None:
    given = {"attack": "blind", "model": {"name": "toy_chain", "dropout": 0.3}, "protocol": protocol}
    plain = run("plain", **given)[0]
    noted = run("noted", train={"curve": True}, **given)[0]
    assert plain["utility_curve"] is None
    assert len(noted["utility_curve"]) == noted["cell"]["train"]["epochs"]
    assert noted["utility_curve"][-1] == noted["utility"] == plain["utility"]


def test_several_clients_note_the_utility_of_all(run: Run) -> None:
    for mode in ("sequential", "parallel"):
        given: dict[str, Any] = {"attack": "blind", "clients": {"n": 2, "mode": mode}}
        plain, noted = run(f"{mode}1", **given)[0], run(f"{mode}2", train={"curve": True}, **given)[0]
        assert noted["utility_curve"][-1] == noted["utility"] == plain["utility"]
