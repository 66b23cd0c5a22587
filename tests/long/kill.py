"""Kill -9 at fifty random moments and more, each followed by another run: `make kill-test`, a few minutes.

Among the attacks are hostile ones that die, fork or change torch's settings. After every kill the records that are
there must be whole, and those that have not failed stay as they are to the byte and the nanosecond; when a matrix is
finished at last, its table must be that of an undisturbed run. Half of the kills hit the whole process group, half the
main process alone, whose workers must then end by themselves. Writes results/kill_test.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from splitleak import cli
from splitleak.report import show, table  # noqa: F401  (a run imports these; here once for all)

ATTACK = """\
import time, torch
from dataclasses import dataclass
from splitleak.contract import Attack, Goal, Grant
@dataclass(frozen=True)
class Slow(Attack):
    goal, needs = Goal.INPUTS, Grant.SMASHED
    wait: float = 0.2
    def run(self, view):
        time.sleep(self.wait)
        return torch.rand(view.targets, *view.in_shape)
"""
HOSTILE = {  # the end of its run: each must fail, or be as if it were not there, whenever the run is killed
    "dies": "os.kill(os.getpid(), signal.SIGKILL)",
    "leaves": "os._exit(0)",
    "closes": "os.closerange(3, 10**4)",
    "odd": "raise BaseException('x' * 10**6)",
    "forks": "if not os.fork(): signal.pause()",
    "sets": "torch.set_default_dtype(torch.float64); torch.set_num_threads(2); torch.set_grad_enabled(False)",
}
MATRIX = """\
[matrix]
dataset = ["./toy_signals.py"]
model = ["ecg_cnn"]
defense = ["none", { name = "laplace_range", epsilon = [1, 5] }]
attack = ["blind", "./toy_peek.py", { name = "./slow.py", wait = [0.2, 0.3] }, HOSTILE]
seed = [0, 1]
[train]
epochs = 2
[evaluate]
targets = 20
"""
TOYS = Path(__file__).parents[1] / "toys"
ENDS_WITHIN = 2.0  # seconds that a worker may outlive its run
Files = dict[str, tuple[int, bytes]]


@dataclass
class Kill:
    """One of them: how many workers, what was killed, how long after the run began to write, what was there then."""

    workers: int
    whole_group: bool
    moment: float
    files: int
    half_written: int
    orphans_ended_after: float


def main() -> None:
    """Kill and go on until there were enough kills and the last matrix is finished."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--kills", type=int, default=52)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--out", type=Path, default=Path("results/kill_test.json"))
    given = asked.parse_args()
    start, draw, kills, tables = time.monotonic(), random.Random(given.seed), list[Kill](), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        prepare(folder)
        finish(folder, "whole", 1)
        while len(kills) < given.kills:
            shutil.rmtree(folder / "out", ignore_errors=True)
            kept: Files = {}
            while len(kills) < given.kills and len(kept) < len(files(folder / "whole")):
                kill = one(folder, draw)
                untouched(kept, files(folder / "out"))
                kept = files(folder / "out")
                if kill is None:
                    break
                kills.append(kill)
                say(f"{len(kills)}: {kill}")
            finish(folder, "out", draw.choice((1, 2)))
            untouched(kept, files(folder / "out"))
            same(folder)
            tables += 1
    told = {"kills": len(kills), "tables": tables, "equal": True, "seconds": round(time.monotonic() - start, 1)}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(told | {"moments": [asdict(kill) for kill in kills]}, indent=1) + "\n")
    say(f"{len(kills)} kills, {tables} tables, all equal; written to {given.out}")


def prepare(folder: Path) -> None:
    for toy in ("toy_signals.py", "toy_peek.py"):
        shutil.copy(TOYS / toy, folder)
    (folder / "slow.py").write_text(ATTACK)
    for name, line in HOSTILE.items():
        first, last = "import os, signal, time, torch", "return torch.full((view.targets, *view.in_shape), 0.5)"
        body = ATTACK.replace("import time, torch", first).replace("time.sleep(self.wait)", line)
        head, _, _ = body.rpartition("return ")
        (folder / f"{name}.py").write_text(f"{head}{last}\n")
    axis = ", ".join(f'"./{name}.py"' for name in HOSTILE)
    (folder / "m.toml").write_text(MATRIX.replace("HOSTILE", axis))


class Run:
    """`splitleak run` in a process group of its own, forked from this process so that its imports are done."""

    def __init__(self, folder: Path, out: str, workers: int) -> None:
        self.ended: int | None = None
        self.pid = os.fork()
        if not self.pid:
            os.setsid()
            os.chdir(folder)
            os.environ["OMP_NUM_THREADS"] = "1"  # a worker that numpy gave a thread would seem to watch its run
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(nowhere, stream)
            sys.argv = ["splitleak", "run", "m.toml", "--out", out, "--workers", str(workers), "--device", "cpu"]
            status = 70
            try:
                cli.main()
            except SystemExit as ended:
                status = int(ended.code or 0)
            finally:
                os._exit(status)

    def status(self, options: int = 0) -> int | None:
        """What it ended with; None while it runs, which only os.WNOHANG can find."""
        if self.ended is None:
            pid, told = os.waitpid(self.pid, options)
            self.ended = os.waitstatus_to_exitcode(told) if pid else None
        return self.ended

    def runs(self) -> bool:
        return self.status(os.WNOHANG) is None


def finish(folder: Path, out: str, workers: int) -> None:
    status = Run(folder, out, workers).status()
    check(status == 1, f"an undisturbed run ended with {status}")  # its hostile attacks have failed


def one(folder: Path, draw: random.Random) -> Kill | None:
    """A run that is killed at some moment after it took the lock or wrote a file; None if it was done before."""
    workers, whole_group, moment = draw.choice((1, 1, 2)), draw.random() < 0.5, draw.uniform(0.0, 2.5)
    from_lock = draw.random() < 0.3
    before = len(files(folder / "out"))
    run = Run(folder, "out", workers)
    lock, begun = folder / "out" / ".lock", time.time()
    while run.runs() and len(files(folder / "out")) == before:
        if from_lock and lock.exists() and lock.stat().st_mtime > begun:
            break
        time.sleep(0.005)
    end = time.monotonic() + moment
    while run.runs() and time.monotonic() < end:
        time.sleep(0.001)
    if not run.runs():
        check(run.status() == 1, f"a run ended with {run.status()}")
        return None
    group = run.pid
    at_work = [pid for pid, of in living(folder).items() if pid != group and (of != group or watches(pid))]
    (os.killpg if whole_group else os.kill)(group, signal.SIGKILL)
    killed = time.monotonic()
    run.status()
    while any(pid in at_work for pid in living(folder)):
        left = [pid for pid in living(folder) if pid in at_work]
        check(time.monotonic() - killed < ENDS_WITHIN, f"a worker outlived its run: {', '.join(map(described, left))}")
        time.sleep(0.005)
    ended, late = time.monotonic() - killed, files(folder / "out")
    while living(folder):  # a worker that was being imported ends when that is done
        check(time.monotonic() - killed < 60, "a process outlived its run")
        time.sleep(0.005)
    check(files(folder / "out") == late, "written by a worker after its run was gone")
    there = list((folder / "out").rglob("*"))
    half = sum(path.suffix == ".tmp" for path in there)
    return Kill(workers, whole_group, round(moment, 3), len(files(folder / "out")), half, round(ended, 3))


def watches(pid: int) -> bool:
    """Has a worker got so far that a thread of it waits for the end of its run?"""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def described(pid: int) -> str:
    """A process with its group, its parent and what it waits for."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
        return f"{pid} (state, parent, group, session: {' '.join(told)})"
    except OSError:
        return f"{pid} (gone)"


def living(folder: Path) -> dict[int, int]:
    """The processes that still run in a folder, whatever an attack has forked included, and the group of each."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            here = (stat.parent / "cwd").readlink() == folder
        except OSError:
            continue
        if here and state != "Z":
            found[int(stat.parent.name)] = int(group)
    return found


def files(out: Path) -> Files:
    """Records and victims with when they were written and what is in them; half-written ones do not count."""
    paths = [path for kind in ("records", "victims") for path in (out / kind).glob("[!.]*")]
    return {f"{path.parent.name}/{path.name}": (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def untouched(before: Files, after: Files) -> None:
    changed = [name for name, told in before.items() if after.get(name) != told and not failed(name, told[1])]
    check(not changed, f"written twice or lost: {', '.join(changed)}")
    for name, (_, content) in after.items():
        if name.endswith(".json"):
            json.loads(content)


def failed(name: str, content: bytes) -> bool:
    """A record of a cell that failed: the next run does it again."""
    return name.endswith(".json") and json.loads(content)["status"] == "failed"


def same(folder: Path) -> None:
    """The same files as an undisturbed run, none besides, and the same table but for what it timed."""
    check(files(folder / "out").keys() == files(folder / "whole").keys(), "other files than an undisturbed run's")
    check(not list((folder / "out").rglob("*.tmp")), "a half-written file is left")
    one, other = (pd.read_csv(folder / out / "leaderboard.csv", dtype=str) for out in ("out", "whole"))
    timed = [name for name in one if name.startswith("seconds_")]
    check(one.drop(columns=timed).equals(other.drop(columns=timed)), "another table than an undisturbed run's")


def check(holds: bool, why: str) -> None:
    if not holds:
        sys.exit(f"kill-test: {why}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
