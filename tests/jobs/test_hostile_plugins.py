"""Plug-ins that crash, hang, fork, shout or change what others use: each harms its own cell alone."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from splitleak import apart

from ..conftest import Lab, Ran

pytestmark = pytest.mark.skipif(not apart.possible(), reason="needs Linux")

SHOUT = 10**6
HALF = "return torch.full((view.targets, *view.in_shape), 0.5)"
FAILS = {  # the body of its run, what its record says
    "base": ("class Odd(BaseException): pass\nraise Odd('gone')", r"^Odd: gone$"),
    "no_text": (
        "class Odd(Exception):\n    def __str__(self): return 1 / 0\nraise Odd",
        r"^Odd: \(its text cannot be had: ZeroDivisionError\)$",
    ),
    "long": ("raise ValueError('x' * 10**7)", r"^ValueError: x{200,300}…$"),
    "control": (r"raise ValueError('\x1b[2J\x07\u202ered\udc80')", r"^ValueError: \\x1b\[2J\\x07\\u202ered\\udc80$"),
    "interrupt": ("raise KeyboardInterrupt", r"^KeyboardInterrupt: $"),
    "own_signal": ("os.kill(os.getpid(), signal.SIGINT)\nsignal.pause()", r"^KeyboardInterrupt: $"),
    "exits": ("os._exit(0)", r"^its attack's process died 2 times \(exit status 0\)$"),
    "kills_itself": ("os.kill(os.getpid(), signal.SIGKILL)", r"^its attack's process died 2 times \(SIGKILL\)$"),
    "closes_files": (f"os.closerange(3, 10**4)\n{HALF}", r"^its attack's process died 2 times \(exit status 0\)$"),
    "recurses": ("def f(): f()\nf()", r"^RecursionError: "),
    "throws": ("view.steps.throw(ValueError('into the steps'))", r"has no attribute 'throw'$"),
    "stops_early": ("view.steps.close()\n" + HALF, "has no attribute 'close'$"),
}
HARMLESS = {  # each guesses 0.5 everywhere, so its numbers are those of "quiet"
    "quiet": HALF,
    "forks": f"os.fork()\n{HALF}",
    "leaves_a_fork": f"if not os.fork():\n    signal.pause()\n{HALF}",
    "leaves_a_daemon": f"if not os.fork():\n    os.setsid()\n    if os.fork(): os._exit(0)\n    signal.pause()\n{HALF}",
    "threads": f"import threading\nthreading.Thread(target=threading.Event().wait).start()\n{HALF}",
    "shouts": f"print('s' * {SHOUT})\nos.write(2, b's' * {SHOUT})\n{HALF}",
    "sets": f"torch.use_deterministic_algorithms(True)\nguess = {HALF[7:]}\ntorch.set_default_dtype(torch.float64)\n"
    "torch.set_flush_denormal(True)\nos.chdir('/')\nreturn guess",
    "sets_midway": "for step in view.steps:\n    torch.set_default_dtype(torch.float64)\n"
    f"    torch.set_num_threads(2)\ntorch.set_default_dtype(torch.float32)\n{HALF}",
    "breaks_modules": "from splitleak.score import metrics, question\nfrom splitleak.store import Store\n"
    f"metrics.inputs = question.Question.score = Store.write_record = None\nguess = {HALF[7:]}\n"
    "torch.nn.Linear.forward = None\nreturn guess",
}  # fmt: skip
NOISY = '\ndefense = [{ name = "laplace_range", epsilon = 5 }]'
STEPS = ("throws", "stops_early", "sets_midway")


def axes(lab: Any, names: dict[str, Any]) -> str:
    """The axis of these attacks, "blind" and a good one around them."""
    bodies = {name: body if isinstance(body, str) else body[0] for name, body in names.items()}
    needs = {name: "SMASHED | Grant.STEPS" if name in STEPS else "SMASHED" for name in names}
    written = ", ".join(lab.attack(name, body, needs[name]) for name, body in bodies.items())
    return f'attack = ["blind", {written}, "./toy_peek.py"]'


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, dict[str, Ran]]:
    """A lab in which all of them have run under a noisy defence, by one worker into `1` and by two into `2`."""
    made = Lab(tmp_path_factory.mktemp("hostile"))
    made.matrix(axes(made, FAILS | HARMLESS) + NOISY)
    return made, {workers: made.process("run", "m.toml", "--out", workers, "--workers", workers) for workers in "12"}


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_harms_its_own_cell_alone(runs: Any, lab: Any, main: Any, workers: str) -> None:
    made, ran = runs[0], runs[1][workers]
    assert ran.status == 1
    assert "\x1b" not in ran.err.replace("\x1b[A", "")  # what tqdm writes
    assert max(map(len, ran.err.replace("s" * SHOUT, "").splitlines())) < 1000
    records = made.records(workers)
    for name, (_, why) in FAILS.items():
        assert records[name]["status"] == "failed"
        assert re.search(why, records[name]["why"]), (name, records[name]["why"])
        assert len(records[name].get("traceback", "")) <= 20_000
        assert f"failed: attack '{name}' on toy_signals" in ran.err
    lab.matrix('attack = ["blind", "./toy_peek.py"]' + NOISY)
    assert main("run", "m.toml", "--out", "alone").status == 0
    for name, record in lab.records("alone").items():
        assert records[name]["metrics"] == record["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_an_attack_leaves_behind_reaches_no_number(runs: Any, workers: str) -> None:
    records = runs[0].records(workers)
    for name in HARMLESS:
        assert records[name]["status"] == "done", records[name]["why"]
        assert records[name]["metrics"] == records["quiet"]["metrics"], name
    deadline = time.monotonic() + 60
    while left := processes(runs[0].folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def processes(where: Path) -> list[int]:
    """Living processes that work in this folder, as those that a run's attacks may have left do."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            mine = folder.stat().st_uid == os.getuid() and (folder / "cwd").resolve() == where.resolve()
        except OSError:
            continue
        if mine and state != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_a_hang_is_a_failed_record_after_the_time_limit(lab: Any, main: Any) -> None:
    hang = lab.attack("hangs", "while True:\n    try:\n        signal.pause()\n    except BaseException:\n        pass")
    assert main("run", lab.matrix('attack = ["blind"]'), "--out", "out").status == 0
    ran = main("run", lab.matrix(f'attack = ["blind", {hang}]'), "--out", "out", "--timeout", "1.5")
    assert ran.status == 1
    assert "a job that takes longer than 1.5 seconds fails (--timeout)" in ran.err
    assert lab.records()["hangs"]["why"] == "longer than 1.5 seconds (--timeout)"
    assert lab.records()["blind"]["status"] == "done"


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_training_that_hangs_fails_its_own_cells(lab: Any, main: Any, workers: str) -> None:
    lab.write(
        "stuck.py",
        "import signal\nfrom dataclasses import dataclass\nfrom splitleak.contract import Defense\n"
        "@dataclass(frozen=True)\nclass D(Defense):\n    def smash(self, z):\n"
        "        if z.requires_grad: signal.pause()\n        return z\n",
    )
    ran = main("run", lab.matrix('defense = ["./stuck.py"]'), "--out", "out", "--timeout", "3", "--workers", workers)
    assert ran.status == 1
    assert [r["why"] for r in lab.records().values()] == ["its victim failed: longer than 3 seconds (--timeout)"]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_time_limit_that_is_none_is_refused(lab: Any, main: Any, seconds: str) -> None:
    line = main("run", lab.matrix(), "--out", "out", "--timeout", seconds).line
    assert "--timeout must be a number of seconds above 0" in line


def test_the_null_run_starts_from_the_same_state_as_the_real_one(lab: Any, main: Any) -> None:
    counts = "import builtins\nbuiltins.runs = getattr(builtins, 'runs', 0) + 1\n"
    guess = "return torch.full((view.targets, *view.in_shape), 0.5 / builtins.runs)"
    counting = lab.attack("counts", counts + guess)
    assert main("run", lab.matrix(f"attack = [{counting}]"), "--out", "out").status == 0
    record = lab.records()["counts"]
    assert record["null"]["metrics"]["mse"] == record["metrics"]["mse"]


@pytest.mark.slow
def test_workers_and_kills_change_no_byte_of_the_table_with_hostile_plugins(runs: Any) -> None:
    lab = runs[0]
    assert lab.csv("1") == lab.csv("2")
    moments = random.Random(0)
    for workers in ("1", "2", "1"):
        enough = len(lab.files("killed")) + moments.randint(1, 5)
        run = lab.start("run", "m.toml", "--out", "killed", "--workers", workers)
        while len(lab.files("killed")) < enough and run.poll() is None:
            time.sleep(0.005)
        os.killpg(run.pid, signal.SIGKILL)
        run.end()
    assert lab.process("run", "m.toml", "--out", "killed", "--workers", "1").status == 1
    assert lab.csv("killed") == lab.csv("1")
    assert not list((lab.folder / "killed").rglob("*.tmp"))
