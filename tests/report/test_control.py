"""Only the shipped `blind` is the control: an attack that is named alike counts for `worst`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from splitleak.plan import plugins
from splitleak.report.rows import RowKey
from splitleak.report.summary import summary
from splitleak.report.table import leaderboard

from .test_leaderboard import record

BODY = "return view.smashed.new_full((20, 1, 16), 0.5)"


def named(name: str, label: str, **more: Any) -> dict[str, Any]:
    """A record of an attack with this specification and this label."""
    made = record(**more)
    made["cell"] |= {"attack": {"name": name}}
    return made | {"labels": made["labels"] | {"attack": label}}


@pytest.mark.parametrize(
    ("name", "label", "control"),
    [
        ("blind", "blind", True),
        ("blind", "blind(goal=labels)", True),
        ("./blind_plus.py", "blind_plus", False),
        ("./blind.py", "blind", False),  # as records of earlier versions print it
        ("./blind.py", "blind(x=1)", False),
        ("package.blind:Blind", "package.blind:Blind", False),
    ],
)
def test_the_control_is_known_by_its_specification(name: str, label: str, control: bool) -> None:
    assert RowKey.of(named(name, label)).control is control  # type: ignore[arg-type]
    worst = leaderboard([named(name, label, advantage=0.6)], Path.cwd())["worst"][0]
    assert (worst == 0.6) is not control


@pytest.mark.slow
def test_files_named_like_a_shipped_plugin_are_told_apart_in_the_table(lab: Any, main: Any) -> None:
    lab.attack("blind", BODY)
    lab.attack("blinder", BODY)
    none = "class D(Defense):\n    def smash(self, z):\n        return z + 1\n"
    head = "from dataclasses import dataclass\nfrom splitleak import Defense\n@dataclass(frozen=True)\n"
    lab.write("none.py", head + none)
    axes = 'defense = ["none", "./none.py"]\nattack = ["blind", "./blind.py", "./blinder.py"]'
    assert main("run", lab.matrix(axes), "--out", "out").status == 0
    labels = {(record["labels"]["defense"], record["labels"]["attack"]) for record in records(lab)}
    assert labels == {(d, a) for d in ("none", "none.py") for a in ("blind", "blind.py", "blinder")}
    board = leaderboard(records(lab), lab.folder)
    assert len(board) == 6
    assert "only blind was run" not in summary(board)


def records(lab: Any) -> list[Any]:
    return [json.loads(path.read_text()) for path in (lab.out / "records").rglob("*.json")]


def test_a_file_of_another_name_is_printed_without_its_ending(lab: Any) -> None:
    lab.attack("mine", BODY)
    assert plugins.label("attack", {"name": "./mine.py"}, lab.folder) == "mine"
