"""Protocol `inference`: a network that is trained already sends messages, and nothing that tells of labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import splitleak
from splitleak.contract import BadInput, Grant, threats
from splitleak.plan import matrix
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

from ..conftest import TOYS, toy_matrix

ASKED: dict[str, Any] = {"protocol": "inference", "cut": 1}


def test_nothing_crosses_but_the_smashed_data(stage: Callable[..., Scene]) -> None:
    scene = stage(attack="inverse_network", train={"epochs": 0}, **ASKED)
    assert list(Attempt(scene).released) == ["smashed"]
    assert not scene.grants & (Grant.LABELS | Grant.GRADIENT | Grant.TAMPER | Grant.SHADOWS)


def test_whoever_cannot_exist_there_has_nothing() -> None:
    held = {name: threat.on("inference") for name, threat in threats.THREATS.items()}
    assert {name for name, grants in held.items() if not grants} == {
        "malicious_server", "label_thief", "fed_server", "auditor"
    }  # fmt: skip
    assert held["eavesdropper"] == Grant.SMASHED | Grant.STEPS | Grant.DEFENSE
    assert Grant.TOP in held["honest_server"]
    assert Grant.BOTTOM in held["white_box"]


def test_it_trains_nothing() -> None:
    with pytest.raises(BadInput, match=r"protocol 'inference' trains nothing: write epochs = 0 into \[train\]"):
        matrix.read(toy_matrix(train={"epochs": 1}, **ASKED), TOYS)


def test_bytes_are_those_of_the_message_alone(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TOYS)
    whole = [splitleak.run(toy_matrix(train={"epochs": 0}, attack="blind", protocol=p, cut=1), tmp_path / p)[0]
             for p in ("inference", "vanilla")]  # fmt: skip
    assert whole[0]["bytes_down"] == 0 < whole[1]["bytes_down"]
    assert 0 < whole[0]["bytes_up"] < whole[1]["bytes_up"]


def test_a_defence_that_acts_while_the_network_learns_is_skipped() -> None:
    cells = matrix.read(toy_matrix(train={"epochs": 0}, defense=["none", "nopeek", "dropout"], **ASKED), TOYS).cells
    skipped = {cell.defense["name"]: cell.skip for cell in cells if cell.attack["name"] != "blind"}
    assert skipped["none"] is skipped["dropout"] is None
    assert "nopeek" in (skipped["nopeek"] or "")
    assert "does nothing under protocol 'inference'" in (skipped["nopeek"] or "")
