"""A mistake in a matrix or on the command line: one line (who, what, what is legal), status 2, and nothing written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Ran

# What a matrix has beside toy signals under ecg_cnn, and what the one line says, in this order.
AXES = {
    "unknown attack": ('attack = ["bilnd"]', "m.toml.*no attack named 'bilnd'; did you mean 'blind'.*attacks: .*blind"),
    "unknown suite": ('attack = ["standard_9"]', "no suite 'standard_9'; did you mean 'standard_1'.*suites: stand"),
    "misspelt suite": ('attack = ["standrd"]', "no suite 'standrd'; did you mean 'standard'.*standard_1.*the newest"),
    "suite beside an attack": (
        'attack = ["standard", "channel"]',
        "axis 'attack': suite 'standard_1' stands alone, not beside 'channel': it brings .* a .*matrix.* of their own",
    ),
    "suite beside the control": ('attack = ["blind", "standard_1"]', "stands alone, not beside 'blind': it brings"),
    "suite beside a file": ('attack = ["standard", "./toy_peek.py"]', "stands alone, not beside './toy_peek.py'"),
    "parameter of a suite": (
        'attack = [{ name = "standard", steps = 9 }]',
        r"suite 'standard': no parameter 'steps' \(parameters: goal\); its attacks are fixed",
    ),
    "unknown goal of a suite": (
        'attack = [{ name = "standard", goal = "lables" }]',
        r"suite 'standard': it has no attack on goal 'lables'; did you mean 'labels'\? \(goals: inputs, labels, memb",
    ),
    "goal without attacks": (
        'attack = [{ name = "standard_1", goal = ["inputs", "weights"] }]',
        r"suite 'standard_1': it has no attack on goal 'weights' \(goals: inputs, labels, membership, prop",
    ),
    "number for the goal of a suite": ('attack = [{ name = "standard", goal = 1 }]', "no attack on goal 1 .goals: inp"),
    "too many cells of a suite": (
        f'attack = ["standard"]\nseed = {list(range(9000))}',
        r"[\d,]+ cells \(\d+ attack x 9,000 seed\), and a matrix may have 100,000: split the matrix",
    ),
    "unknown defence": ('defense = ["nome"]', "no defense named 'nome'; did you mean 'none'.*laplace_range"),
    "unknown protocol": ('protocol = ["vanila"]', "no protocol 'vanila'; did you mean 'vanilla'.*central.*u_shape"),
    "unknown threat": ('threat = ["onest_server"]', "no threat 'onest_server'; did you mean 'honest_server'.*oracle"),
    "unknown auxiliary set": ('aux = ["sam"]', "no dataset named 'sam'.*datasets: .*ecg"),
    "unknown axis": ('atack = ["blind"]', "no axis 'atack'; did you mean 'attack'.*axes: dataset"),
    "unknown section": ("[evaluation]\ntargets = 3", r"no section \[evaluation\]; did you mean 'evaluate'.*train"),
    "unknown parameter": (
        'defense = [{ name = "laplace_range", epsilom = 1 }]',
        "laplace_range.*no parameter 'epsilom'; did you mean 'epsilon'.*parameters: epsilon",
    ),
    "parameter of one that takes none": ('defense = [{ name = "none", x = 1 }]', "no parameter 'x'.*parameters: none"),
    "unknown parameter of aux": ('aux = [{ name = "same", m = 4 }]', "'same' takes n and labels, not m"),
    "zero auxiliary records": ('aux = [{ name = "same", n = 0 }]', "n must be a whole number from 1, not 0"),
    "text for labels of aux": ('aux = [{ name = "same", labels = "no" }]', "labels must be true or false, not 'no'"),
    "text for a number": ('defense = [{ name = "laplace_range", epsilon = "5" }]', "epsilon: must be.*number.*not '5'"),
    "true for a number": ('defense = [{ name = "laplace_range", epsilon = true }]', "epsilon: must be.*number.*True"),
    "negative epsilon": ('defense = [{ name = "gaussian", epsilon = -1 }]', "epsilon: must be greater than 0, not -1"),
    "NaN epsilon": ('defense = [{ name = "gaussian", epsilon = nan }]', "epsilon: must be a finite number, not nan"),
    "infinite epsilon": ('defense = [{ name = "laplace_range", epsilon = inf }]', "epsilon: must be a finite number"),
    "one bad value among good ones": ('defense = [{ name = "gaussian", epsilon = [1, 0] }]', "epsilon: .*not 0"),
    "empty axis": ("attack = []", r"axis 'attack' must be a list that is not empty, not \[\]"),
    "empty axis inside a table": (
        'defense = [{ name = "laplace_range", epsilon = [] }]', "axis 'defense': 'epsilon' is an empty list"
    ),
    "axis that is no list": ('attack = "blind"', "axis 'attack' must be a list.*not 'blind'"),
    "number for a name": ("attack = [3]", "axis 'attack': each is a name or a table with a name, not 3"),
    "table without a name": ("defense = [{ epsilon = 1 }]", "axis 'defense': each is a name or a table with a name"),
    "the same value twice": ("seed = [1, 2, 1]", "axis 'seed' holds 1 twice"),
    "the same plug-in twice": ('attack = ["blind", { name = "blind" }]', "axis 'attack' holds .*blind.* twice"),
    "the same parameter written in two ways": (
        'defense = [{ name = "laplace_range", epsilon = [5, 5.0] }]', "axis 'defense' holds .*5.0.* twice",
    ),
    "the same number of clients twice": ("clients = [2, { n = 2 }]", "axis 'clients' holds .*2.* twice"),
    "a million cells": (
        f'defense = [{{ name = "gaussian", epsilon = {list(range(1, 1001))} }}]\nseed = {list(range(1000))}',
        "1,000,000 cells .1,000 defense x 1,000 seed., and a matrix may have 100,000: split the matrix",
    ),
    "number for a protocol": ("protocol = [3]", "no protocol '3'.*protocols: central"),
    "protocol without a name": ("protocol = [{ rounds = 2 }]", "axis 'protocol': each is a name or a table with a nam"),
    "settings of another protocol": ('protocol = [{ name = "vanilla", rounds = 2 }]', "'vanilla' takes no rounds"),
    "true for a cut": ("cut = [true]", "axis 'cut' takes whole numbers from 0, not True"),
    "true for a number of clients": ("clients = [true]", "axis 'clients': each is a name or a table.*not True"),
    "true for auxiliary records": ('aux = [{ name = "same", n = true }]', "n must be a whole number from 1, not True"),
    "text for minutes": ('[about]\nminutes = "3"', r"\[about\]: minutes: must be a valid number, not '3'"),
    "true for minutes": ("[about]\nminutes = true", r"\[about\]: minutes: must be a valid number, not True"),
    "zero minutes": ("[about]\nminutes = 0", r"\[about\]: minutes: must be greater than 0, not 0"),
    "unknown word about a matrix": ('[about]\nwhy = ""', r"\[about\]: no parameter 'why'.*parameters: what, minutes"),
    "text for a seed": ('seed = ["0"]', "axis 'seed' takes whole numbers from 0, not '0'"),
    "true for a seed": ("seed = [true]", "axis 'seed' takes whole numbers from 0, not True"),
    "negative seed": ("seed = [-1]", "axis 'seed' takes whole numbers from 0, not -1"),
    "zero clients": ("clients = [0]", "axis 'clients': n: must be greater than or equal to 1, not 0"),
    "unknown way of many clients": ('clients = [{ n = 2, mode = "both" }]', "mode: must be 'sequential' or 'parallel'"),
    "cut beyond the last block": ("cut = [9]", r"ecg_cnn.*cannot be cut at 9.*'vanilla' \(legal cuts: 1, 2\)"),
    "cut at nothing": ("cut = [0]", "cannot be cut at 0.*legal cuts: 1, 2"),
    "duplicate key": ("cut = [1]\ncut = [2]", "m.toml' is no TOML: .*line 5"),
    "duplicate section": ("[matrix]", "m.toml' is no TOML: "),
    "no TOML at all": ("once upon a time", "m.toml' is no TOML: .*line 4"),
    "missing file of a plug-in": ('attack = ["./gone.py"]', r"attack './gone.py': no such file \(/.*gone.py\)"),
    "missing module": ('attack = ["no_such.mod:A"]', "attack 'no_such.mod:A': cannot import 'no_such.mod'"),
    "class that a module lacks": ('attack = ["splitleak.attacks.blind:X"]', "'splitleak.attacks.blind' has no Attack"),
    "defence as an attack": ('attack = ["splitleak.attacks.blind:Defense"]', "has no Attack of that name"),
}  # fmt: skip
TRAIN = {
    "fewer epochs than none": ("epochs = -1", r"\[train\]: epochs: must be greater than or equal to 0, not -1"),
    "text for epochs": ('epochs = "2"', r"\[train\]: epochs: must be a valid integer, not '2'"),
    "half an epoch": ("epochs = 1.5", r"\[train\]: epochs: must be a valid integer"),
    "true for epochs": ("epochs = true", r"\[train\]: epochs: must be a valid integer, not True"),
    "negative lr": ("lr = -0.1", r"\[train\]: lr: must be greater than 0, not -0.1"),
    "NaN lr": ("lr = nan", r"\[train\]: lr: must be a finite number, not nan"),
    "infinite lr": ("lr = inf", r"\[train\]: lr: must be a finite number, not inf"),
    "batches of one": ("batch_size = 1", r"\[train\]: batch_size: must be greater than or equal to 2"),
    "unknown optimiser": ('optimizer = "adamw"', r"\[train\]: optimizer: must be 'adam' or 'sgd', not 'adamw'"),
    "unknown setting": ("epoch = 3", r"\[train\]: no parameter 'epoch'; did you mean 'epochs'.*parameters: epochs"),
}
DATASETS = {
    "unknown dataset": ('["ecg_syntetic"]', "no dataset named 'ecg_syntetic'; did you mean 'ecg_synthetic'"),
    "missing file of a dataset": ('["./gone.py"]', "dataset './gone.py': no such file"),
    "parameter out of range": ('[{ name = "ecg_synthetic", n = 3 }]', "n: must be greater than or equal to 500, not 3"),
    "letter that is no beat": ('[{ name = "ecg_synthetic", positive = "X" }]', "positive: must be 'N', 'L'"),
    "number for otherwise": (
        '[{ name = "ecg", otherwise = 3 }]',
        "otherwise must be a name or a table with one, not 3",
    ),
}
CALLS = {
    "missing matrix": (["run", "smoek"], "no matrix 'smoek'; did you mean 'smoke'.*ships: .*smoke"),
    "missing file": (["run", "nowhere.toml"], "no matrix 'nowhere.toml'.*a TOML file, or one that ships"),
    "folder as a matrix": (["check", "."], r"no matrix '\.'"),
    "unknown choice of data": (
        ["run", "m.toml", "--data", "reel"],
        "--data must be auto, real or synthetic, not 'reel'",
    ),
    "unknown choice of data in a check": (["check", "m.toml", "--data", ""], "--data must be auto, real or synthetic"),
    "no workers": (["run", "m.toml", "--workers", "0"], "--workers.*0 is not in the range x>=1"),
    "text for workers": (["run", "m.toml", "--workers", "two"], "'--workers'.*integer"),
    "unknown device": (["run", "m.toml", "--device", "tpu"], "--device must be auto, cpu or cuda, not 'tpu'"),
    "unknown option": (["run", "m.toml", "--wokers", "1"], "--wokers"),
    "unknown command": (["rnu", "m.toml"], "rnu"),
    "no matrix named": (["run"], "MATRIX"),
    "only on an unknown axis": (["run", "m.toml", "--only", "atack=blind"], "'atack=blind': write AXIS=VALUE.*attack"),
    "only without a value": (["run", "m.toml", "--only", "attack"], "'attack': write AXIS=VALUE.*axes: dataset"),
    "only without a match": (["run", "m.toml", "--only", "seed=7"], r"'seed=7': no such cell \(seed: 0\)"),
    "unknown list": (["list", "atacks"], "no list of 'atacks'; did you mean 'attacks'.*threats"),
    "leaderboard of nothing": (["leaderboard", "gone"], "'gone' has no records"),
}


def flat(cases: dict[str, tuple[Any, str]]) -> list[Any]:
    return [pytest.param(given, said, id=name.replace(" ", "-")) for name, (given, said) in cases.items()]


@pytest.mark.parametrize(("axes", "said"), flat(AXES))
def test_one_line_about_an_axis(lab: Any, main: Any, axes: str, said: str) -> None:
    for command in (["check"], ["run", "--out", "out"]):
        assert re.search(said, main(*command, lab.matrix(axes)).line)
    assert not lab.out.exists()


@pytest.mark.parametrize(("train", "said"), flat(TRAIN))
def test_one_line_about_training(lab: Any, main: Any, train: str, said: str) -> None:
    assert re.search(said, main("run", lab.matrix(train=train), "--out", "out").line)
    assert not lab.out.exists()


@pytest.mark.parametrize(("dataset", "said"), flat(DATASETS))
def test_one_line_about_a_dataset(lab: Any, main: Any, dataset: str, said: str) -> None:
    assert re.search(said, main("run", lab.matrix(dataset=dataset), "--out", "out").line)
    assert not lab.out.exists()


@pytest.mark.parametrize(("args", "said"), flat(CALLS))
def test_one_line_about_a_command(lab: Any, main: Any, args: list[str], said: str) -> None:
    lab.matrix()
    assert re.search(said, main(*args).line)
    assert sorted(p.name for p in Path().iterdir()) == ["m.toml", "toy_peek.py", "toy_signals.py"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[matrix]\nmodel = ["ecg_cnn"]', r"\[matrix\] needs 'dataset'"),
        ('[matrix]\ndataset = ["./toy_signals.py"]', r"\[matrix\] needs 'model'"),
        ('[matrix]\ndataset = ["./toy_signals.py"]\nmodel = ["ecg_cn"]', "no model named 'ecg_cn'; did you mean 'ecg_"),
        ('[matrix]\ndataset = ["./toy_signals.py"]\nmodel = [{ name = "ecg_cnn", layers = 9 }]', "layers: .*not 9"),
        ("", r"\[matrix\] needs 'dataset'"),
        ("matrix = 3", r"'matrix' must be a section, \[matrix\]"),
    ],
)  # fmt: skip
def test_one_line_about_a_matrix_that_lacks_something(lab: Any, main: Any, text: str, said: str) -> None:
    lab.write("m.toml", text)
    assert re.search(f"m.toml.*{said}", main("run", "m.toml", "--out", "out").line)
    assert not lab.out.exists()


def test_one_line_about_a_binary_file_as_a_matrix(lab: Any, main: Any) -> None:
    (lab.folder / "m.toml").write_bytes(bytes(range(256)))
    assert "matrix 'm.toml' cannot be read" in main("run", "m.toml").line


PLUGIN = "from dataclasses import dataclass\nfrom splitleak.contract import *\n"
FILES = {
    "does not import": ("import no_such_module", "cannot be imported: ModuleNotFoundError"),
    "is no Python": ("def (", "cannot be imported: SyntaxError"),
    "leaves when imported": ("import sys\nsys.exit(0)", "cannot be imported: SystemExit"),
    "holds no attack": ("x = 1", "must define exactly one Attack; it defines no plug-in"),
    "is no dataclass": (PLUGIN + "class A(Attack):\n    def run(self, v): ...", r"A needs @dataclass\(frozen=True\)"),
    "has no goal": (
        PLUGIN + "@dataclass(frozen=True)\nclass A(Attack):\n    needs = Grant(0)\n    def run(self, view): ...",
        "its class must say `goal`, a Goal",
    ),
    "has needs of another type": (
        PLUGIN + "@dataclass(frozen=True)\nclass A(Attack):\n    goal, needs = Goal.INPUTS, 1\n    def run(self): ...",
        "its class must say `needs`, a Grant",
    ),
    "has a field of no plain type": (
        PLUGIN + "@dataclass(frozen=True)\nclass A(Attack):\n    goal, needs = Goal.INPUTS, Grant(0)\n"
        "    x: View = None\n    def run(self, v): ...",
        "a parameter's type cannot be checked",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), flat(FILES))
def test_one_line_about_a_plugin_file_that(lab: Any, main: Any, text: str, said: str) -> None:
    lab.write("a.py", text)
    line = main("run", lab.matrix('attack = ["./a.py"]'), "--out", "out").line
    assert re.search(f"m.toml': attack './a.py'.*{said}", line)
    assert not lab.out.exists()


DATA = {
    "fails to load": ("raise RuntimeError('no disk')", "cannot be loaded: RuntimeError: no disk"),
    "returns nothing": ("return None", "load returned NoneType; it must be Data"),
    "has NaN": ("x[3, 0, 2] = float('nan')", "1 values of x are NaN or infinite"),
    "has a label too many": ("y[0] = 5", r"y has label 5; legal: 0\.\.1"),
    "has labels for fewer records": ("y = y[:-1]", "x has 40 records, but y has shape"),
    "has records the network cannot take": ("x = x[..., :15]", "ecg_cnn.*shape"),
}


@pytest.mark.parametrize(("change", "said"), flat(DATA))
def test_one_line_about_an_outside_dataset_that(lab: Any, main: Any, change: str, said: str) -> None:
    lab.write(
        "d.py",
        f"import torch\n{PLUGIN}@dataclass(frozen=True)\nclass D(Dataset):\n    def load(self):\n"
        f"        x, y, i = torch.linspace(0, 1, 640).view(40, 1, 16), torch.arange(40) % 2, torch.arange(40)\n"
        f"        {change}\n        parts = (Records(x / (k + 1), y, i + 99 * k) for k in range(3))\n"
        "        return Data(*parts, Task('classes', 2), (0.0, 1.0))\n",
    )
    line = main("run", lab.matrix(dataset='["./d.py"]'), "--out", "out").line
    assert re.search(said, line)
    assert lab.files() == {}


@pytest.mark.slow
def test_one_line_from_the_real_command(lab: Any) -> None:
    started = lab.command("run", lab.matrix('attack = ["bilnd"]'), "--out", "out")
    out, err = started.communicate(timeout=240)
    assert "no attack named 'bilnd'; did you mean 'blind'" in Ran(started.returncode, out, err).line
    assert out == ""
    assert not lab.out.exists()


def test_no_words_but_the_help_without_a_command(lab: Any, main: Any) -> None:
    ran = main()
    assert ran.status == 2
    assert "leaderboard" in ran.err
    assert "Traceback" not in ran.err
