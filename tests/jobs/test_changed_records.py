"""A victim whose records have changed is trained again, and what a run then writes is what a fresh folder would get."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

DATASET = """
    from dataclasses import dataclass
    from pathlib import Path
    import torch
    from toy_signals import ToySignals
    @dataclass(frozen=True)
    class D(ToySignals):
        def load(self):
            data = super().load()
            for line in self.path("changes.txt").read_text().split():
                part, column = line.split(".")
                t = getattr(getattr(data, part), column)
                t[3] = 1 - t[3]
            return data
"""


@pytest.fixture
def ran(lab: Any, main: Any) -> Any:
    """A matrix on records that a file can change has run."""
    lab.write("d.py", DATASET)
    lab.write("changes.txt", "")
    lab.matrix('attack = ["./toy_peek.py"]', dataset='["./d.py"]')
    assert main("run", "m.toml", "--out", "out").status == 0
    return lab


def victims(lab: Any, out: str = "out") -> dict[str, tuple[int, bytes]]:
    """The kept victims, without the judge."""
    return {n: f for n, f in lab.files(out).items() if n.startswith("victims/") and "judge" not in n}


def forget_records(lab: Any) -> None:
    shutil.rmtree(lab.out / "records")


def plain(lab: Any, out: str = "out") -> dict[str, Any]:
    """What the record says, without what depends on the clock."""
    (record,) = lab.records(out).values()
    return {name: value for name, value in record.items() if not name.startswith(("seconds", "checksum"))}


@pytest.mark.slow
@pytest.mark.parametrize("change", ["private.x", "private.y"])
def test_a_victim_of_other_records_is_trained_again(ran: Any, main: Any, change: str) -> None:
    before = {name: content for name, (_, content) in victims(ran).items()}
    ran.write("changes.txt", change)  # a single record of 64
    forget_records(ran)
    assert main("run", "m.toml", "--out", "out").status == 0
    after = {name: content for name, (_, content) in victims(ran).items()}
    assert before.keys() == after.keys()  # the cell is the same
    assert all(before[name] != after[name] for name in before)
    assert main("run", "m.toml", "--out", "fresh").status == 0
    assert plain(ran) == plain(ran, "fresh")


@pytest.mark.slow
def test_its_utility_is_measured_on_the_test_records_of_today(ran: Any, main: Any) -> None:
    before = plain(ran)
    ran.write("changes.txt", "test.y")
    forget_records(ran)
    assert main("run", "m.toml", "--out", "out").status == 0
    assert main("run", "m.toml", "--out", "fresh").status == 0
    assert plain(ran) == plain(ran, "fresh")
    assert abs(plain(ran)["utility"] - before["utility"]) == pytest.approx(1 / 64)  # one label of 64 is another


def test_a_victim_of_the_same_records_is_not(ran: Any, main: Any) -> None:
    before = victims(ran)
    forget_records(ran)
    assert main("run", "m.toml", "--out", "out").status == 0
    assert victims(ran) == before
