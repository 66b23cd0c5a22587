"""What a matrix may say beside its axes: attacks kept to some defences, and utility noted epoch by epoch."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from splitleak.plan import matrix

Run = Callable[..., list[dict[str, Any]]]


BLOCKS = """
[[matrix]]
dataset = ["./toy_signals.py"]
model = ["ecg_cnn"]
defense = ["none", "laplace_range", "gaussian"]
attack = ["blind", "channel"]
[[matrix]]
dataset = ["./toy_signals.py"]
model = ["ecg_cnn"]
defense = ["none", "gaussian"]
attack = ["blind", "./toy_peek.py"]
"""


def test_blocks_of_a_matrix_are_unfolded_one_by_one_and_what_they_share_is_done_once(lab: Any) -> None:
    lab.write("m.toml", BLOCKS)
    cells = matrix.read("m.toml").cells
    met = sorted((cell.attack["name"], cell.defense["name"], cell.threat) for cell in cells)
    assert len(met) == len(set(met))
    assert {(a, d) for a, d, _ in met if a != "blind"} == {
        *(("channel", d) for d in ("none", "laplace_range", "gaussian")),
        *(("./toy_peek.py", d) for d in ("none", "gaussian")),
    }
    assert len({cell.victim_key for cell in cells}) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("matrix = []", "'matrix' must be a section"),
        ("matrix = [3]", "'matrix' must be a section"),
        ('[[matrix]]\ndataset = ["./toy_signals.py"]', r"\[matrix\] needs 'model'"),
        ("[[train]]\nepochs = 1", "'train' must be a section"),
    ],
)
def test_one_line_about_a_block(lab: Any, main: Any, text: str, said: str) -> None:
    lab.write("m.toml", text)
    assert re.search(said, main("check", "m.toml").line)


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
