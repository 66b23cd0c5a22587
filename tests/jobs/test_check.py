"""The command `check`: what would fail hours later is one line now, and how long a run will take."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from splitleak.contract.errors import BadInput
from splitleak.jobs import check, estimate
from splitleak.jobs import worker as worker_module
from splitleak.jobs.steps import Steps, trained
from splitleak.jobs.trial import Trial, try_out
from splitleak.jobs.worker import Worker
from splitleak.plan import matrix

HEAD = (
    "from dataclasses import dataclass\nimport torch\nfrom torch import nn\nfrom splitleak.contract import *\n"
    "from toy_signals import ToySignals\n\n@dataclass(frozen=True)\n"
)
MODEL = """class M(Model):
    def blocks(self, in_shape, task):
        return [nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2)]
    def cuts(self, protocol):
        return [1, 2, 3, 4, 9]
"""


def model(last: str) -> str:
    """A model that makes something else of the prediction in its last block."""
    block = f"class Last(nn.Module):\n    def forward(self, x):\n        return {last}\n"
    return MODEL.replace("nn.Linear(8, 2)]", "nn.Linear(8, 2), Last()]") + "\n" + block


MODELS = {
    "cut behind the last block": (MODEL, "cut = [4]", r"cut 4, protocol 'vanilla': of 4 blocks none is left for the s"),
    "cut far behind the last block": (MODEL, "cut = [9]", "cut 9, protocol 'vanilla': of 4 blocks none is left"),
    "cut at a u-shape's head": (
        MODEL,
        'cut = [3]\nprotocol = ["u_shape"]',
        "cut 3, protocol 'u_shape': .* none is left",
    ),
    "no answer": (model("None"), "", r"model './m.py', cut 1.*records \(1, 16\) do not pass"),
    "no answer of a head": (model("None"), 'protocol = ["u_shape"]', "prediction is NoneType, wanted a tensor .2, 2."),
    "another shape": (model("x[:, :1]"), "", r"the prediction has shape \(2, 1\), wanted \(2, 2\)"),
    "another type": (model("x.argmax(1)"), "", r"the prediction is torch.int64, wanted a tensor \(2, 2\) of floats"),
    "a model that leaves": (model("exit(3)"), "", "do not pass: SystemExit: 3"),
    "another shape when whole": (
        model("x[:, :1]"),
        'protocol = ["central"]',
        "protocol 'central': the prediction has s",
    ),
}
DEFENSES = {
    "smash returns nothing": ("def smash(self, z):\n        return None", "what smash returns is NoneType, wanted"),
    "smash drops a record": (
        "def smash(self, z):\n        return z[1:]",
        r"smash returns has shape \(31, .*wanted \(32",
    ),
    "smash raises": ("def smash(self, z):\n        raise OSError('no noise')", "step fails: OSError: no noise"),
    "penalty is none": ("def penalty(self, x, z, sent, y):\n        return 'high'", "a training step fails: "),
    "gradient returns nothing": ("def gradient(self, g, y):\n        return None", "a training step fails: "),
    "observe raises": (
        "def observe(self, x, sent):\n        raise SystemExit(2)",
        "a training step fails: SystemExit: 2",
    ),
    "begin raises": ("def begin(self, split, seed):\n        raise OSError('no seed')", "OSError: no seed"),
}
AUX = {
    "other records": ('[{ name = "ecg_synthetic" }]', "axis 'aux': 'ecg_synthetic' has records"),
    "a dataset that fails": ('["./bad.py"]', "axis 'aux': dataset './bad.py' cannot be loaded: OSError: no disk"),
    "records with NaN": ('["./nan.py"]', "axis 'aux': dataset './nan.py': .*NaN"),
}


@pytest.fixture(autouse=True)
def _toys(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(lab.folder)


@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_cannot_be_trained_is_one_line(lab: Any, main: Any, case: str) -> None:
    source, axes, wanted = MODELS[case]
    lab.write("m.py", HEAD + source)
    text = (lab.folder / lab.matrix(axes)).read_text().replace("ecg_cnn", "./m.py")
    lab.write("m.toml", text)
    for command in (["check"], ["run", "--out", "out"]):
        assert re.search(wanted, main(*command, "m.toml").line)
    assert lab.files() == {}


@pytest.mark.parametrize("case", DEFENSES)
def test_a_defence_that_fails_in_the_first_step_is_one_line(lab: Any, main: Any, case: str) -> None:
    body, wanted = DEFENSES[case]
    lab.write("d.py", f"{HEAD}class D(Defense):\n    {body}\n")
    line = main("check", lab.matrix('defense = ["none", "./d.py"]')).line
    assert re.search(wanted, line)
    assert case == "begin raises" or "defense './d.py' on model 'ecg_cnn', cut 2, protocol 'vanilla'" in line


@pytest.mark.parametrize("case", AUX)
def test_an_auxiliary_dataset_that_does_not_fit_is_one_line(lab: Any, main: Any, case: str) -> None:
    body = "class D(ToySignals):\n    def load(self):\n"
    lab.write("bad.py", f"{HEAD}{body}        raise OSError('no disk')\n")
    lab.write(
        "nan.py", f"{HEAD}{body}        data = super().load()\n        data.aux.x[0] = torch.nan\n        return data\n"
    )
    aux, wanted = AUX[case]
    assert re.search(wanted, main("check", lab.matrix(f'aux = {aux}\nattack = ["channel"]')).line)


@pytest.mark.slow
def test_a_check_of_every_protocol_leaves_no_file_and_no_random_number(lab: Any, main: Any) -> None:
    lab.matrix(
        'protocol = ["vanilla", "u_shape", "central"]\ndefense = ["none", "laplace_range", "nopeek"]\nclients = [1, 2]'
    )
    before, random = sorted(Path().iterdir()), torch.get_rng_state()
    ran = main("check", "m.toml")
    assert ran.status == 0, ran.err
    assert sorted(p for p in Path().iterdir() if p.name != "__pycache__") == before
    assert torch.equal(torch.get_rng_state(), random)
    assert re.search(r"^\d+ cells \(\d+ skipped\) on \d+ victims$", ran.out, re.MULTILINE)
    assert re.search(
        r"^≈ [\d.]+ minutes on \d+ cores \([\d.]+ of training, [\d.]+ of attacks; an est", ran.out, re.MULTILINE
    )


def test_a_training_that_diverges_at_once_is_no_mistake_of_the_matrix(lab: Any, main: Any) -> None:
    lab.matrix('attack = ["blind"]', 'epochs = 1\noptimizer = "sgd"\nlr = 1e38')
    assert main("check", "m.toml").status == 0


def trials_of(lab: Any, axes: str, train: str = "epochs = 3") -> tuple[list[Any], list[Trial]]:
    """The cells of a matrix, and trials of 64 records that took 2 seconds a step."""
    cells = matrix.read(lab.matrix(axes, train)).cells
    return cells, [Trial(cell, 64, True, 2.0) for cell in check.one_each(cells, *check.KIND)]


@pytest.mark.slow
def test_steps_are_those_of_the_real_training(lab: Any, main: Any) -> None:
    lab.matrix('protocol = ["vanilla", "u_shape", "central"]\nclients = [1, 2]', "epochs = 2")
    assert main("run", "m.toml", "--out", "out").status == 0
    cells = {cell.key: cell for cell in matrix.read("m.toml").cells}
    steps = Steps([Trial(cell, 64, True, 1.0) for cell in cells.values()])
    found = [json.loads(path.read_text()) for path in (lab.out / "records").glob("*.json")]
    assert len(found) == len(cells)
    assert all(steps.of_training(cells[record["key"]]) == record["steps"] for record in found if "steps" in record)


def test_what_is_trained_once_is_counted_once(lab: Any) -> None:
    cells, _ = trials_of(
        lab, 'cut = [1, 2]\ndefense = ["none", "laplace_range"]\nattack = ["blind", "channel"]\nseed = [0, 1]'
    )
    assert len({cell.victim_key for cell in cells}) == 8
    assert len(trained(cells)) == 2 + 4  # an undefended one serves both cuts


def test_a_step_that_was_not_timed_takes_as_long_as_those_of_its_network(lab: Any) -> None:
    _, trials = trials_of(lab, 'defense = ["none", "laplace_range", "nopeek"]')
    steps = Steps([trials[0], Trial(trials[1].cell, 64, True, 4.0), Trial(trials[2].cell, 64, False, None)])
    assert [steps.seconds(trial.cell) for trial in trials] == [2.0, 4.0, 3.0]


def test_minutes_are_shared_by_workers_but_not_those_of_one_victim(lab: Any) -> None:
    cells, trials = trials_of(lab, "seed = [0, 1, 2]")  # two batches an epoch: 12 s a victim
    found = estimate.estimate(cells, trials, lab.folder / "none", lab.folder)
    assert found.training == pytest.approx(3 * 12 / 60)
    assert found.minutes(2) == pytest.approx((found.training + found.attacks) / 2)
    assert found.minutes(100) == pytest.approx(12 / 60)
    assert "attacks of about a second" in found.line(2, "2 cores")


def test_attacks_are_guessed_by_their_length_or_known_from_records(lab: Any) -> None:
    attack = 'attack = [{ name = "inverse_network", steps = [2600, 1300] }]\nseed = [0, 1]'
    cells, trials = trials_of(lab, attack)
    guessed = estimate.estimate(cells, trials, lab.out, lab.folder)
    assert guessed.attacks == pytest.approx((1 + 0.5) * (2 + 1))  # the first seed again on the null channel
    assert "attacks guessed at about 1 minute each" in guessed.basis
    folder = lab.out / "records"
    folder.mkdir(parents=True)
    worker = Worker(lab.out, lab.folder, "cpu")
    for cell in cells[:2]:
        done = {"status": "done", "seconds": 30.0, "utility_metric": "accuracy", "utility": 0.9, "utility_floor": 0.5}
        scored = done | {"metrics": {"advantage": 0.5}, "flags": []}
        worker.store.write_record(worker.blank_record(worker.case(cell)) | scored)
    known = estimate.estimate(cells, trials, lab.out, lab.folder)
    assert known.attacks == pytest.approx(2 * 0.5 + (1 + 0.5))
    assert known.basis == f"records in {lab.out}, 2 attacks guessed at about 1 minute each"


def test_no_network_is_tried_when_the_time_for_it_is_spent(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, _ = trials_of(lab, 'defense = ["none", "laplace_range"]')
    monkeypatch.setattr("splitleak.jobs.trial.BUDGET", 1e-9)
    trials = try_out(cells, Worker(lab.out, lab.folder, "cpu"))
    assert [trial.tried for trial in trials] == [True, False]
    assert trials[1].seconds is None


def test_verify_loads_each_dataset_once(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = matrix.read(
        lab.matrix("seed = [0, 1, 2]", dataset='["./toy_signals.py", { name = "./toy_signals.py", n = 32 }]')
    ).cells
    worker, loaded = Worker(lab.out, lab.folder, "cpu"), []
    load = worker_module.load_data
    monkeypatch.setattr(worker_module, "load_data", lambda *given: loaded.append(1) or load(*given))
    check.verify(cells, worker)
    assert len(loaded) == 2
    with pytest.raises(BadInput, match="only 64 records"):
        check.verify(matrix.read(lab.matrix("clients = [65]")).cells, worker)
