"""A finished record is made again when anything behind it has changed, and only then; the table says so before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from splitleak.jobs import making, scoring
from splitleak.report import stale as stale_module
from splitleak.train import provenance

from ..conftest import Lab

ATTACK = """
    from dataclasses import dataclass
    import torch
    from helper import LEVEL
    from splitleak import Attack, Goal, Grant
    @dataclass(frozen=True)
    class Mine(Attack):
        goal, needs = Goal.INPUTS, Grant.SMASHED
        level: str = ""
        def sources(self):
            return [self.path(self.level)] if self.level else []
        def run(self, view):
            shift = float(self.path(self.level).read_text()) if self.level else 0.0
            return torch.full((len(view.smashed), *view.in_shape), LEVEL + shift)
"""
DEFENSE = """
    from dataclasses import dataclass
    from splitleak import Defense
    @dataclass(frozen=True)
    class Half(Defense):
        def smash(self, z):
            return z * 0.5
"""
AXES = """attack = ["blind", "./mine.py", { name = "./mine.py", level = "level.txt" }]
defense = ["none", "./half.py"]"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Path]:
    """A finished matrix with an attack and a defence of the user's, run once, and a copy of its folder."""
    made, kept = Lab(tmp_path_factory.mktemp("finished")), tmp_path_factory.mktemp("kept")
    made.write("mine.py", ATTACK)
    made.write("helper.py", "LEVEL = 0.1\n")
    made.write("half.py", DEFENSE)
    made.write("level.txt", "0.2")
    assert made.process("run", made.matrix(AXES), "--out", "out", "--workers", "1").status == 0
    return made, Path(shutil.copytree(made.folder, kept, dirs_exist_ok=True))


@pytest.fixture
def ran(finished: tuple[Lab, Path], monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The matrix as it was when it had finished, in the folder that its records name."""
    lab, kept = finished
    shutil.rmtree(lab.folder)
    shutil.copytree(kept, lab.folder)
    monkeypatch.chdir(lab.folder)
    return lab


def made_again(lab: Any, main: Any, change: Callable[[], Any]) -> set[str]:
    """Change something and run again: the kinds of files that are other ones now, as "mine on none" and "victim"."""
    before = lab.files()
    change()
    ran = main("run", "m.toml", "--out", "out")
    assert ran.status == 0, ran.err
    after = lab.files()
    assert before.keys() == after.keys()
    fresh = {name for name in before if before[name] != after[name]}
    records = {p.stem: r for p, r in kept(lab).items() if f"records/{p.name}" in fresh}
    victims = {"judge" if "judge" in name else "victim" for name in fresh if name.startswith("victims")}
    assert main("run", "m.toml", "--out", "fresh").status == 0
    assert lab.csv() == lab.csv("fresh")  # nothing of what was before is in the table
    assert "stale" not in lab.csv()
    shutil.rmtree(lab.folder / "fresh")
    return victims | {f"{r['labels']['attack']} on {r['labels']['defense']}" for r in records.values()}


def kept(lab: Any) -> dict[Path, Any]:
    from splitleak.sealed import unpack_json

    return {path: unpack_json(path.read_bytes()) for path in lab.out.glob("records/*.json")}


def stale(lab: Any, main: Any, folder: str = "out") -> set[str]:
    """The rows of the table of the folder as it is now that are flagged."""
    ran = main("leaderboard", folder, "-o", str(lab.folder / "now.csv"))
    assert ran.status == 0, ran.err
    board = pd.read_csv(lab.folder / "now.csv", dtype=str, keep_default_na=False)
    return {f"{row['attack']} on {row['defense']}" for _, row in board.iterrows() if "stale" in row["flags"]}


MINE = {f"{attack} on {defense}" for attack in ("mine", "mine(level=level.txt)") for defense in ("none", "half")}
ALL = MINE | {"blind on none", "blind on half"}


@pytest.mark.slow
def test_nothing_is_made_again_where_nothing_changed(ran: Any, main: Any) -> None:
    assert stale(ran, main) == set()
    assert made_again(ran, main, lambda: None) == set()


@pytest.mark.slow
def test_words_change_nothing(ran: Any, main: Any) -> None:
    assert made_again(ran, main, lambda: ran.write("mine.py", f'    """Words."""{ATTACK}\n    # more')) == set()


@pytest.mark.slow
@pytest.mark.parametrize("file", ["mine.py", "helper.py"])
def test_an_edited_attack_is_run_again_on_the_kept_victims(ran: Any, main: Any, file: str) -> None:
    texts = {"mine.py": ATTACK.replace("LEVEL + shift", "LEVEL + shift + 0.05"), "helper.py": "LEVEL = 0.4\n"}

    def edit() -> None:
        ran.write(file, texts[file])
        assert stale(ran, main) == MINE

    assert made_again(ran, main, edit) == MINE


@pytest.mark.slow
def test_an_edited_file_that_a_parameter_names_is_read_again(ran: Any, main: Any) -> None:
    assert made_again(ran, main, lambda: ran.write("level.txt", "0.3")) == {m for m in MINE if "level" in m}


@pytest.mark.slow
def test_an_edited_defence_trains_its_victim_again_and_no_other(ran: Any, main: Any) -> None:
    def edit() -> None:
        ran.write("half.py", DEFENSE.replace("0.5", "0.25"))
        assert stale(ran, main) == {row for row in ALL if row.endswith("half")}

    assert made_again(ran, main, edit) == {"victim"} | {row for row in ALL if row.endswith("half")}


@pytest.mark.slow
def test_other_records_make_all_of_it_again(ran: Any, main: Any) -> None:
    text = (ran.folder / "toy_signals.py").read_text()
    other = (
        text + "\n_load = ToySignals.load\ndef _other(self):\n    data = _load(self)\n    data.private.x[3] *= 0.5\n"
    )
    edit = f"{other}    return data\nToySignals.load = _other\n"
    assert made_again(ran, main, lambda: ran.write("toy_signals.py", edit)) == ALL | {"victim"}


@pytest.mark.slow
@pytest.mark.parametrize(("module", "victims"), [(making, {"victim"}), (scoring, set())], ids=["making", "scoring"])
def test_other_code_of_the_harness_makes_all_of_it_again(
    ran: Any, main: Any, monkeypatch: pytest.MonkeyPatch, module: Any, victims: set[str]
) -> None:
    real = provenance.code_hash_of
    monkeypatch.setattr("splitleak.report.stale._harness", stale_module._harness.__wrapped__)
    monkeypatch.setattr(provenance, "code_hash_of", lambda f: "other" if f == module.__file__ else real(f))
    assert made_again(ran, main, lambda: None) == ALL | victims


@pytest.mark.slow
def test_another_version_of_torch_makes_all_of_it_again(ran: Any, main: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.__version__", "9.9.9")
    assert made_again(ran, main, lambda: None) == ALL | {"victim", "judge"}


@pytest.mark.slow
def test_a_cell_that_is_legal_now_is_run_and_one_that_is_not_any_more_is_skipped(ran: Any, main: Any) -> None:
    needs_more = ATTACK.replace("Grant.SMASHED", "Grant.BOTTOM")
    matrix = f'{AXES}\nthreat = ["eavesdropper"]'
    assert main("run", ran.matrix(matrix), "--out", "out").status == 0
    ran.write("mine.py", needs_more)
    assert main("run", "m.toml", "--out", "out").status == 0
    assert {r["status"] for r in kept(ran).values() if "mine" in r["labels"]["attack"]} == {"skipped"}
    ran.write("mine.py", ATTACK)
    assert main("run", "m.toml", "--out", "out").status == 0
    assert {r["status"] for r in kept(ran).values()} == {"done"}


@pytest.mark.slow
def test_a_table_finds_plugin_files_from_anywhere_and_runs_none(
    ran: Any, main: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert stale(ran, main, str(ran.out)) == set()
    ran.write("mine.py", f"{ATTACK}\n    open('ran', 'w')\n")
    ran.write("half.py", "no Python at all")
    assert stale(ran, main, str(ran.out)) == MINE | {row for row in ALL if row.endswith("half")}
    assert os.listdir(elsewhere) == []


@pytest.mark.slow
def test_a_plugin_file_that_is_nowhere_is_not_called_stale(ran: Any, main: Any) -> None:
    (ran.folder / "mine.py").rename(ran.folder / "gone.txt")
    assert stale(ran, main) == set()


def test_the_code_of_a_record_is_all_that_scores_it(tmp_path: Path) -> None:
    files = {path.name for path in provenance.closure([Path(scoring.__file__)])}
    assert {"metrics.py", "evaluate.py", "attempt.py", "view.py", "judge.py", "levels.py", "networks.py"} <= files
    assert not {"worker.py", "schedule.py", "table.py", "cli.py"} & files
