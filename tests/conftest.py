"""What the tests share: toy plug-ins by file name, a staged cell, an attack that is a function of the test; a lab."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

import splitleak
from splitleak import cli
from splitleak.contract import Data
from splitleak.contract.view import View
from splitleak.plan import matrix, plugins
from splitleak.plan.case import Case
from splitleak.score import utility
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene
from splitleak.train import shadows, victim
from splitleak.train.data import load_aux, load_data
from splitleak.train.facts import Kept, VictimFacts
from splitleak.train.fit import Fit

from .forks import Fork, load_packages

TOYS = Path(__file__).parent / "toys"
QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.01}
# victims on which every defence of the smashed data is tried
SETTINGS: dict[str, dict[str, Any]] = {
    "flat": {},
    "flat u": {"protocol": "u_shape"},
    "masks": {"dataset": "toy_images", "protocol": "u_shape"},
    "signals": {"dataset": "toy_signals", "model": "ecg_cnn"},
    "values": {"dataset": {"name": "toy_flat", "task": "value"}},
}
PLAIN = {"name": "toy_chain", "norm": False}
Look = Callable[[View], Tensor | None]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def toy() -> Callable[..., Any]:
    """toy("model", "toy_chain", dropout=0.5): a toy plug-in, made as a matrix would make it."""

    def make(kind: plugins.Kind, name: str, **given: Any) -> Any:
        return plugins.make(kind, {"name": f"./{name}.py"} | given, TOYS)

    return make


def named(axis: dict[str, Any] | str) -> dict[str, Any]:
    spec = {"name": axis} if isinstance(axis, str) else dict(axis)
    if spec["name"].startswith("toy_"):
        spec["name"] = f"./{spec['name']}.py"
    return spec


def toy_matrix(train: dict[str, Any] | None = None, evaluate: dict[str, Any] | None = None, **axes: Any) -> Any:
    """A matrix of one value an axis (or a list of them), the toys named without their path."""
    chosen: dict[str, Any] = {"dataset": "toy_flat", "model": "toy_chain", "attack": "toy_read_off"} | axes
    lists = {axis: value if isinstance(value, list) else [value] for axis, value in chosen.items()}
    for axis in ("dataset", "model", "defense", "attack"):
        if axis in lists:
            lists[axis] = [named(value) for value in lists[axis]]
    return {"matrix": lists, "train": QUICK | (train or {}), "evaluate": evaluate or {}}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """`splitleak.run` on toys; out= a folder of its own name for a second run beside the first."""
    monkeypatch.chdir(TOYS)

    def call(out: str = "out", **given: Any) -> list[dict[str, Any]]:
        return splitleak.run(toy_matrix(**given), tmp_path / out)

    return call


@pytest.fixture
def stage() -> Callable[..., Scene]:
    """The scene of a matrix's first cell with its victim trained, as a worker would find it kept."""

    def make(**given: Any) -> Scene:
        cell = matrix.read(toy_matrix(**given), TOYS).cells[0]
        assert cell.skip is None, cell.skip
        case = Case.of(cell, TOYS)
        data = load_data(case, torch.device("cpu"))
        kept, *shadowing = (trained(replace(case, cell=one), data) for one in cell.victims)
        return Scene(case, data, kept, other=load_aux(case, torch.device("cpu")), shadows=shadowing)

    return make


def trained(case: Case, data: Data) -> Kept:
    """The victim of a case, or a shadow of it, as the store would hold it."""
    made = victim.fresh(case, shadows.data_for(case.cell, data))
    fit = Fit(made, lambda now: utility.on_test(now)[1])
    facts = VictimFacts(case.cell.victim(), {}, learned=fit.run())
    facts.fingerprint = made.fingerprint()
    if len(fit.parties) > 1:
        facts.utility_clients = utility.by_client(made, fit.parties)
    return Kept({name: t.clone() for name, t in made.tensors().items()}, facts)


@pytest.fixture
def attempt(stage: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Attempt]:
    """attempt(look, wants="SMASHED|STEPS", ...): the attack `look` has run on a staged cell; returns its attempt."""

    def make(look: Look, wants: str = "", goal: str = "inputs", null: bool = False, **given: Any) -> Attempt:
        cls = plugins.find("attack", "./toy_probe.py", TOYS)
        monkeypatch.setattr(cls, "_look", staticmethod(look), raising=False)
        tried = Attempt(stage(attack={"name": "toy_probe", "wants": wants, "goal": goal}, **given), null)
        tried.run()
        return tried

    return make


def watched(stage: Callable[..., Scene], **given: Any) -> Iterator[Attempt]:
    """On the channel and on the null one, an attack that logs at every step has run: a disturbed victim would raise."""
    scene = stage(attack={"name": "toy_probe", "wants": "SMASHED|STEPS"}, protocol="u_shape", **given)

    def look(view: View) -> None:
        for step in view.steps:
            view.log(step.index, lambda z: torch.full((len(z), *view.in_shape), 0.5))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(scene.attack), "_look", staticmethod(look), raising=False)
        for null in (False, True):
            tried = Attempt(scene, null)
            tried.run()
            assert tried.curve
            yield tried


@dataclass(frozen=True)
class Ran:
    """What a command said and with which exit status it ended."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line that a mistake is told in."""
        assert self.status == 2, (self.status, self.err)
        assert "Traceback" not in self.err
        said = [
            line for line in re.split(r"[\r\n]+", self.err) if line.strip() and "job" not in line
        ]  # the progress bar
        assert len(said) == 1, said
        assert said[0].startswith("splitleak: "), said
        return said[0]


DCOR = """import json, sys, dcor, numpy
told = [(name, *map(numpy.array, pair)) for name, *pair in json.load(sys.stdin)]
print(json.dumps([float(getattr(dcor, name)(x, y)) for name, x, y in told]))"""


@pytest.fixture(scope="session")
def dcor() -> Callable[..., list[float]]:
    """`dcor(("distance_correlation", x, y), ...)`: what the library says, asked in a process of its own.

    Importing it compiles for up to 25 seconds, and once that aborted a process in which much else was loaded.
    """

    def ask(*asked: tuple[str, Tensor, Tensor]) -> list[float]:
        told = json.dumps([(name, x.tolist(), y.tolist()) for name, x, y in asked])
        done = subprocess.run([sys.executable, "-c", DCOR], input=told, capture_output=True, text=True, check=True)
        return list(json.loads(done.stdout))

    return ask


def hear_interrupts() -> None:
    """In a child: a test run in the background of a shell hands down that interrupts are ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Lab:
    """A folder with toy signals, the matrices a test writes there, and the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        for toy in ("toy_signals.py", "toy_peek.py"):
            shutil.copy(TOYS / toy, folder)

    def write(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(textwrap.dedent(text))
        return self.folder / name

    def matrix(self, axes: str = "", train: str = "epochs = 1", dataset: str = '["./toy_signals.py"]') -> str:
        """m.toml: toy signals under ecg_cnn, and what the test adds."""
        head = f'[matrix]\ndataset = {dataset}\nmodel = ["ecg_cnn"]\n'
        self.write("m.toml", f"{head}{axes}\n[train]\n{train}\n[evaluate]\ntargets = 20\n")
        return "m.toml"

    def attack(self, name: str, body: str, needs: str = "SMASHED") -> str:
        """An attack in a file of its own, from the body of its `run`; returns its name on the axis, quoted."""
        lines = textwrap.indent(textwrap.dedent(body).strip(), " " * 8)
        head = "import os, signal, sys, torch\nfrom dataclasses import dataclass\nfrom splitleak.contract import *\n"
        cls = f"@dataclass(frozen=True)\nclass A(Attack):\n    goal, needs = Goal.INPUTS, Grant.{needs}\n"
        self.write(f"{name}.py", f"{head}{cls}    def run(self, view):\n{lines}\n")
        return f'"./{name}.py"'

    def records(self, out: str = "out") -> dict[str, Any]:
        """Every record by the name of its attack."""
        found = [json.loads(path.read_text()) for path in (self.folder / out / "records").glob("*.json")]
        return {record["labels"]["attack"]: record for record in found}

    def csv(self, out: str = "out") -> str:
        """The leaderboard without the columns that time anything."""
        board = pd.read_csv(self.folder / out / "leaderboard.csv", dtype=str)
        return board.drop(columns=[c for c in board if c.startswith("seconds_")]).to_csv(index=False)

    def files(self, out: str = "out") -> dict[str, tuple[int, bytes]]:
        """Every result file with when it was written and what is in it."""
        found = {}
        for path in sorted(
            p for kind in ("records", "victims") for p in (self.folder / out / kind).glob("*") if p.is_file()
        ):
            with contextlib.suppress(FileNotFoundError):  # a temporary file of a run that goes on meanwhile
                found[f"{path.parent.name}/{path.name}"] = (path.stat().st_mtime_ns, path.read_bytes())
        return found

    def start(self, *args: str) -> Fork:
        """The command line as a process (and process group) of its own, forked from the test."""
        load_packages()
        gc.collect()  # a fork that collects earlier tests' garbage loses an interrupt that comes in a finaliser
        return Fork(self.folder, list(args))

    def process(self, *args: str) -> Ran:
        started = self.start(*args)
        return Ran(started.end(240), "", started.text)

    def command(self, *args: str) -> subprocess.Popen[str]:
        """The installed command, by an interpreter of its own: seconds until it begins."""
        command = [str(Path(sys.executable).with_name("splitleak")), *args]
        one = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, cwd=self.folder, env=one, text=True, start_new_session=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, preexec_fn=hear_interrupts,
        )  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path)


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """main("run", "m.toml"): the command line inside this process, on one worker unless told otherwise."""

    def call(*args: str) -> Ran:
        alone = ["--workers", "1"] if args[:1] == ("run",) and "--workers" not in args else []
        monkeypatch.setattr(sys, "argv", ["splitleak", *args, *alone])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, told.out, told.err)

    return call
