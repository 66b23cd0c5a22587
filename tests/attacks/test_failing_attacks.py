"""Attacks from outside the tree: a good one of ten lines is in the CSV, a broken one is a failed record and no more."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import splitleak

TEN_LINES = """\
from dataclasses import dataclass
import torch
from splitleak.contract import Attack, Goal, Grant
@dataclass(frozen=True)
class Linear(Attack):
    goal, needs = Goal.INPUTS, Grant.QUERY | Grant.AUX | Grant.SMASHED
    def run(self, view):
        z, x = view.query(view.aux).flatten(1), view.aux.flatten(1)
        guess = view.smashed.flatten(1) @ torch.linalg.lstsq(z, x).solution
        return guess.view(-1, *view.in_shape).clamp(*view.in_range)
"""
BROKEN = {  # the body of its run, what its record says
    "reaches": ("return view.bottom(view.aux)", "NotGranted: 'bottom' was not granted; declare Grant.BOTTOM"),
    "reaches_for_truth": ("return view.inputs", "NotGranted: 'inputs' was not granted"),
    "reaches_on_line": ("return next(view.steps).smashed", "NotGranted: 'steps' was not granted; declare Grant.STEPS"),
    "reaches_for_features": ("return view.features", "NotGranted: there is no 'features' under this protocol"),
    "shape": (
        "return view.smashed",
        r"BadGuess: attack 'shape': guess has shape \(20, 16, 4\), goal INPUTS needs \(20, 1, 16\)",
    ),
    "one_short": ("return torch.zeros(19, 1, 16)", r"BadGuess: .*shape \(19, 1, 16\), .* needs \(20, 1, 16\)"),
    "no_number": ("return torch.full((20, 1, 16), torch.nan)", "BadGuess: attack 'no_number': guess holds NaN"),
    "infinite": ("return torch.full((20, 1, 16), torch.inf)", "BadGuess: .*guess holds NaN or infinity"),
    "nothing": ("pass", "BadGuess: attack 'nothing': guess is NoneType, must be a tensor of shape"),
    "a_list": ("return [0.5] * 20", "BadGuess: .*guess is list"),
    "out_of_range": ("return torch.full((20, 1, 16), 1.5)", "BadGuess: .*ranges from 1.5 to 1.5, .* needs 0 to 1"),
    "raises": ("raise RuntimeError('out of ideas')", "RuntimeError: out of ideas"),
    "raises_in_many_lines": (r"raise ValueError('first\nsecond')", "ValueError: first$"),
    "bad_query": ("return view.smashed.foo", "AttributeError: .*foo"),
    "leaves": ("sys.exit(0)", "SystemExit: 0"),
    "leaves_at_once": ("raise SystemExit", "SystemExit: "),
}  # fmt: skip


def setup(lab: Any) -> str:
    """The matrix of all broken attacks, the good ones first and last."""
    lab.write("linear.py", TEN_LINES)
    broken = ", ".join(lab.attack(name, body) for name, (body, _) in BROKEN.items())
    return str(lab.matrix(f'attack = ["blind", "./linear.py", {broken}, "./toy_peek.py"]\nthreat = ["query_server"]'))


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the first run of the broken attacks is kept, once a test has made it."""
    return {"kept": tmp_path_factory.mktemp("kept") / "out"}


@pytest.fixture
def ran(lab: Any, main: Any, first_run: dict[str, Path]) -> Any:
    matrix, kept = setup(lab), first_run["kept"]
    if kept.exists():
        shutil.copytree(kept, lab.out)
    else:
        lab.first = main("run", matrix, "--out", "out")
        shutil.copytree(lab.out, kept)
        (kept / "status").write_text(f"{lab.first.status}\n{lab.first.err}")
    lab.status, _, lab.said = (kept / "status").read_text().partition("\n")
    return lab


@pytest.mark.parametrize("name", BROKEN)
def test_broken_attack_is_a_failed_record_that_says_who_and_what(ran: Any, name: str) -> None:
    record = ran.records()[name]
    assert record["status"] == "failed"
    assert re.search(BROKEN[name][1], record["why"])
    assert "metrics" not in record
    assert f"{name}.py" in record["traceback"] or "BadGuess" in record["traceback"]
    assert f"failed: attack '{name}' on toy_signals, defense 'none', seed 0: {record['why']}" in ran.said


def test_the_rest_goes_on_and_run_ends_with_status_1(ran: Any) -> None:
    good = {name: r for name, r in ran.records().items() if name not in BROKEN}
    assert set(good) == {"blind", "linear", "toy_peek"}
    assert all(r["status"] == "done" for r in good.values())
    assert ran.status == "1"


def test_failed_attacks_stand_in_the_csv_without_a_number(ran: Any) -> None:
    board = pd.read_csv(ran.out / "leaderboard.csv").set_index("attack")
    assert set(board.index) == {"blind", "linear", "toy_peek", *BROKEN}
    assert (board.loc[list(BROKEN), "status"] == "failed").all()
    assert board.loc[list(BROKEN), ["advantage", "mse", "utility", "worst"]].isna().all().all()
    assert board.loc["linear", "advantage"] > 0.5


@pytest.mark.slow
def test_running_again_retries_just_the_failed_ones(ran: Any, main: Any) -> None:
    before = ran.files()
    ran.attack("raises", "return torch.zeros(20, 1, 16)")  # its author has mended it
    again = main("run", "m.toml", "--out", "out")
    assert again.status == 1
    after, records = ran.files(), ran.records()
    assert {name for name in before if after[name] == before[name] and name.startswith("records")} == {
        f"records/{records[name]['key']}.json" for name in ("blind", "linear", "toy_peek")
    }
    assert {name for name in after if name.startswith("victims")} == {n for n in before if n.startswith("victims")}
    assert all(after[name] == before[name] for name in before if name.startswith("victims"))
    assert records["raises"]["status"] == "done"
    assert {name for name, r in records.items() if r["status"] == "failed"} == set(BROKEN) - {"raises"}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("protocol", ["vanilla", "u_shape", "central"])
def test_diverging_training_is_a_status_and_never_a_number(lab: Any, main: Any, optimizer: str, protocol: str) -> None:
    lab.matrix(
        f'attack = ["blind"]\nprotocol = ["{protocol}"]', f'epochs = 3\noptimizer = "{optimizer}"\nlr = 1e38',
    )  # fmt: skip
    for _ in range(2):
        ran = main("run", "m.toml", "--out", "out")
        assert ran.status == 1
        assert "splitleak: diverged: attack 'blind' on toy_signals" in ran.err
        record = lab.records()["blind"]
        assert record["status"] == "diverged"
        assert re.search("no number.*any more", record["why"])
        assert not {"utility", "metrics"} & set(record)
        row = pd.read_csv(lab.out / "leaderboard.csv").iloc[0]
        assert row["status"] == "diverged"
        assert row[["utility", "advantage", "mse"]].isna().all()


def test_learning_rate_of_a_million_under_sgd_diverges(lab: Any, main: Any) -> None:
    lab.matrix('attack = ["blind", "./toy_peek.py"]', 'epochs = 3\noptimizer = "sgd"\nlr = 1e6')
    assert main("run", "m.toml", "--out", "out").status == 1
    assert {r["status"] for r in lab.records().values()} == {"diverged"}


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_defence_that_raises_fails_its_row_alone(lab: Any, main: Any, workers: str) -> None:
    for name, body in (("broken", "raise RuntimeError('no noise today')"), ("gone", "raise SystemExit(3)")):
        lab.write(
            f"{name}.py",
            "from dataclasses import dataclass\nfrom splitleak.contract import Defense\n"
            f"@dataclass(frozen=True)\nclass D(Defense):\n    def smash(self, z):\n        {body}\n",
        )
    lab.matrix('attack = ["./toy_peek.py"]\ndefense = ["./broken.py", "none", "./gone.py"]')
    assert main("run", "m.toml", "--out", "out", "--workers", workers).status == 1
    board = pd.read_csv(lab.out / "leaderboard.csv", keep_default_na=False).set_index("defense")
    assert board["status"].to_dict() == {"none": "done", "broken": "failed", "gone": "failed"}
    records = [json.loads(path.read_text()) for path in (lab.out / "records").glob("*.json")]
    said = {r["cell"]["defense"]["name"]: r for r in records if r["status"] == "failed"}
    assert said["./broken.py"]["why"] == "its victim failed: RuntimeError: no noise today"
    assert said["./gone.py"]["why"] == "its victim failed: RuntimeError: SystemExit: 3"
    assert all(f'{name[2:]}", line' in r["traceback"] for name, r in said.items())


@pytest.mark.slow
def test_attack_whose_process_dies_harms_nobody_else_and_is_retried(lab: Any) -> None:
    lab.attack("deadly", "os.kill(os.getpid(), signal.SIGKILL)")
    lab.matrix('attack = ["./deadly.py", "./toy_peek.py", "blind"]')
    ran = lab.process("run", "m.toml", "--out", "out", "--workers", "2")
    assert ran.status == 1
    records, before = lab.records(), lab.files()
    assert {name: r["status"] for name, r in records.items()} == {
        "deadly": "failed", "toy_peek": "done", "blind": "done",
    }  # fmt: skip
    assert "its attack's process died 2 times" in records["deadly"]["why"]
    lab.attack("deadly", "os._exit(0)")
    again = lab.process("run", "m.toml", "--out", "out", "--workers", "2")  # one job is left, and not to the run itself
    assert again.status == 1
    assert "failed: attack 'deadly'" in again.err
    assert "Traceback" not in ran.err + again.err
    kept = [f"records/{records[name]['key']}.json" for name in ("toy_peek", "blind")]
    assert {name: lab.files()[name] for name in kept} == {name: before[name] for name in kept}


def blocks(language: str) -> list[str]:
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.slow
def test_attack_and_matrix_of_contributing_run_as_printed(lab: Any, main: Any) -> None:
    lab.write("linear.py", blocks("python")[0])
    lab.write("mine.toml", blocks("toml")[0])
    ran = main("run", "mine.toml")
    assert ran.status == 0, ran.err
    board = pd.read_csv(lab.folder / "runs" / "mine" / "leaderboard.csv", keep_default_na=False)
    mine = board[board["attack"] == "linear"].set_index("defense")
    assert set(mine.index) == {"none", "laplace_range(epsilon=5)"}
    assert (mine["status"] == "done").all()
    assert float(mine.loc["none", "advantage"]) > 0.9


def test_attack_of_ten_lines_is_found_from_python_too(lab: Any) -> None:
    assert len(TEN_LINES.splitlines()) == 10
    lab.write("linear.py", TEN_LINES)
    records = splitleak.run(
        {"matrix": {"dataset": ["./toy_signals.py"], "model": ["ecg_cnn"], "attack": ["./linear.py"]},
         "train": {"epochs": 1}, "evaluate": {"targets": 20}},
    )  # fmt: skip
    assert splitleak.leaderboard(records)["attack"].tolist() == ["linear"]
