"""What a matrix says: blocks of axes, their size, the choice of data, what it is about; and utility by epoch."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import splitleak
from splitleak.contract.errors import BadInput
from splitleak.plan import matrix, plugins

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


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["central", "vanilla", "u_shape"])
def test_utility_noted_after_every_epoch_changes_nothing(run: Run, protocol: str) -> None:
    given = {"attack": "blind", "model": {"name": "toy_chain", "dropout": 0.3}, "protocol": protocol}
    plain = run("plain", **given)[0]
    noted = run("noted", train={"curve": True}, **given)[0]
    assert plain["utility_curve"] is None
    assert len(noted["utility_curve"]) == noted["cell"]["train"]["epochs"]
    assert noted["utility_curve"][-1] == noted["utility"] == plain["utility"]


@pytest.mark.slow
def test_several_clients_note_the_utility_of_all(run: Run) -> None:
    for mode in ("sequential", "parallel"):
        given: dict[str, Any] = {"attack": "blind", "clients": {"n": 2, "mode": mode}}
        plain, noted = run(f"{mode}1", **given)[0], run(f"{mode}2", train={"curve": True}, **given)[0]
        assert noted["utility_curve"][-1] == noted["utility"] == plain["utility"]


BIG = """
[matrix]
dataset = ["./toy_signals.py"]
model = ["ecg_cnn"]
defense = [{{ name = "laplace_range", epsilon = {0} }}]
attack = [{{ name = "inverse_network", steps = {0} }}]
"""


def test_a_million_cells_are_refused_before_any_plugin_is_made(
    lab: Any, main: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.write("m.toml", BIG.format(list(range(1, 1001))))
    monkeypatch.setattr(plugins, "make", lambda *given: pytest.fail("a plug-in was made"))
    wanted = (
        r"m.toml': 1,000,000 cells \(1,000 defense x 1,000 attack\), and a matrix may have 100,000: split the matrix"
    )
    assert re.search(wanted, main("check", "m.toml").line)
    lab.write("m.toml", "\n".join(BIG.format(list(range(1, 301))).replace("[matrix]", "[[matrix]]") for _ in range(2)))
    wanted = r"180,000 cells \(the largest \[\[matrix\]\] has 300 defense x 300 attack\)"
    assert re.search(wanted, main("check", "m.toml").line)


def test_a_plugin_is_made_once_for_each_value_of_an_axis(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.write("m.toml", BIG.format([1, 2, 3, 4, 5]) + f"seed = {list(range(100))}\n")
    made: list[str] = []
    make = plugins.make
    monkeypatch.setattr(plugins, "make", lambda kind, *given: made.append(kind) or make(kind, *given))
    cells = matrix.read("m.toml").cells
    assert len(cells) == 5 * 5 * 100
    assert {kind: made.count(kind) for kind in made} == {"dataset": 1, "model": 1, "defense": 5, "attack": 5}


@pytest.mark.parametrize("name", matrix.shipped())
def test_no_cell_of_a_shipped_matrix_is_there_twice(name: str) -> None:
    keys = [cell.key for cell in matrix.read(name, data="synthetic").cells]
    assert len(keys) == len(set(keys))


def test_the_same_cell_written_in_two_ways_is_one(lab: Any) -> None:
    two = '[[matrix]]\ndataset = ["./toy_signals.py"]\nmodel = ["ecg_cnn"]\ndefense = ["laplace_range"]\n'
    lab.write("m.toml", two + 'attack = ["blind"]\n' + two + 'attack = ["blind", "channel"]\nthreat = ["eavesdropper"]')
    cells = matrix.read("m.toml").cells
    assert [cell.attack["name"] for cell in cells] == ["blind", "channel"]
    default = plugins.make("defense", {"name": "laplace_range"}, lab.folder).parameters()["epsilon"]
    lab.write(
        "n.toml",
        two.replace('["laplace_range"]', f'["laplace_range", {{ name = "laplace_range", epsilon = {default} }}]'),
    )
    assert len(matrix.read("n.toml").cells) == 1


LOST = """
from dataclasses import dataclass
from pathlib import Path
from splitleak.contract import Dataset
from splitleak.contract.errors import FilesMissing
from toy_signals import ToySignals

@dataclass(frozen=True)
class Lost(Dataset):
    def load(self):
        if not Path("here").exists():
            raise FilesMissing("dataset 'lost': no file here; get it from the archive")
        return ToySignals(n=32).load()
"""
OTHERWISE = '[{ name = "./lost.py", otherwise = "./toy_signals.py" }]'


@pytest.fixture
def lost(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A matrix with a dataset that has a file to look for, and another one to use in its place."""
    monkeypatch.syspath_prepend(lab.folder)
    lab.write("lost.py", LOST)
    lab.matrix(dataset=OTHERWISE)
    return lab


def datasets(data: str) -> tuple[set[str], int]:
    """The datasets of m.toml's cells, and how many notes there are."""
    whole = matrix.read("m.toml", data=data)
    return {Path(cell.dataset["name"]).stem for cell in whole.cells}, len(whole.notes)


def test_what_becomes_of_a_dataset_with_another_one_to_use_in_its_place(lost: Any) -> None:
    assert datasets("auto") == ({"toy_signals"}, 1)
    assert datasets("real") == ({"lost"}, 0)
    assert datasets("synthetic") == ({"toy_signals"}, 0)
    lost.write("here", "")
    assert datasets("auto") == ({"lost"}, 0)
    assert datasets("real") == ({"lost"}, 0)
    assert datasets("synthetic") == ({"toy_signals"}, 0)


def test_real_data_that_is_missing_is_one_line_that_says_what_to_get(lost: Any, main: Any) -> None:
    for command in (["check"], ["run", "--out", "out"]):
        assert (
            "dataset 'lost': no file here; get it from the archive" in main(*command, "m.toml", "--data", "real").line
        )
    assert lost.files() == {}
    assert main("run", "m.toml", "--out", "out", "--data", "synthetic").status == 0
    assert {record["cell"]["dataset"]["name"] for record in lost.records().values()} == {"./toy_signals.py"}
    with pytest.raises(BadInput, match="get it from the archive"):
        splitleak.run("m.toml", "out", data="real")


def test_synthetic_data_leaves_a_dataset_alone_that_has_no_other(lab: Any) -> None:
    lab.matrix()
    assert datasets("synthetic") == ({"toy_signals"}, 0)


@pytest.mark.parametrize("name", matrix.shipped())
def test_every_shipped_matrix_says_what_it_is_about_and_how_long_it_takes(name: str) -> None:
    found = matrix.about(name)
    assert found.what.endswith(".")
    assert len(found.what) <= 100
    assert found.minutes is not None
    assert found.minutes > 0
    assert found.cells == len(matrix.read(name, data="real").cells)
    assert found.datasets


def test_what_a_matrix_is_about_is_no_part_of_a_key(lab: Any) -> None:
    keys = [cell.key for cell in matrix.read(lab.matrix()).cells]
    said = '[about]\nwhat = "Toy signals."\nminutes = 0.1\n'
    lab.write("n.toml", said + (lab.folder / "m.toml").read_text())
    assert [cell.key for cell in matrix.read("n.toml").cells] == keys
    assert matrix.about("n.toml") == matrix.About("Toy signals.", 0.1, ("./toy_signals.py",), len(keys))
    assert matrix.about("m.toml") == matrix.About("", None, ("./toy_signals.py",), len(keys))
