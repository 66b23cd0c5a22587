"""Killed at any moment and run again: nothing is lost, nothing is done twice, and the table is the same."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

AXES = """\
attack = ["blind", "./toy_peek.py", "./slow.py"]
defense = [{ name = "laplace_range", epsilon = 5 }]
seed = [0, 1]"""
SLOW = "import time\ntime.sleep(0.2)\nreturn torch.rand(20, 1, 16)"  # draws at random: its seed must be its own
ENDS_WITHIN = 2.0  # seconds that a process may outlive the run that started it


@pytest.fixture
def matrix(lab: Any) -> str:
    lab.attack("slow", SLOW)
    return str(lab.matrix(AXES))


def children(pid: int) -> list[int]:
    """The living processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def watches(pid: int) -> bool:
    """Has a worker got so far that a thread of it waits for the end of its run?"""
    return Path(f"/proc/{pid}/task").exists() and len(list(Path(f"/proc/{pid}/task").iterdir())) > 1


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(ready: Any, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def kill(lab: Any, workers: str, files: int, whole_group: bool) -> None:
    """Start a run, and kill it when it has written so many files: seconds would mean another place on each machine."""
    enough = len(finished(lab)) + files
    run = lab.start("run", "m.toml", "--out", "out", "--workers", workers)
    assert until(lambda: len(finished(lab)) >= enough or run.poll() is not None, 120)
    started = children(run.pid)
    at_work = [pid for pid in started if watches(pid)]  # the others are still being imported
    if whole_group:
        os.killpg(run.pid, signal.SIGKILL)
    else:
        run.kill()
    assert until(lambda: not any(map(alive, at_work)), ENDS_WITHIN), "a worker outlived its run"
    assert until(lambda: not any(map(alive, started)), 60)
    run.end()


def finished(lab: Any) -> dict[str, tuple[int, bytes]]:
    return {name: told for name, told in lab.files().items() if not name.endswith(".tmp")}


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_run_goes_on_where_it_stopped(lab: Any, main: Any, matrix: str, workers: str) -> None:
    assert main("run", matrix, "--out", "whole").status == 0
    moments = random.Random(int(workers))
    for whole_group in (True, False):
        kill(lab, workers, moments.randint(1, 3), whole_group)
        kept = finished(lab)
        assert 0 < len(kept) < len(lab.files("whole"))
        again = main("run", matrix, "--out", "again" if whole_group else "out")
        assert again.status == 0
        if not whole_group:
            after = lab.files()
            assert {name: after[name] for name in kept} == kept
    assert lab.csv() == lab.csv("whole")
    assert set(lab.files()) == set(lab.files("whole"))
    assert not list(lab.out.rglob("*.tmp"))


@pytest.mark.parametrize("place", ["records", "victims", "."])
def test_half_written_files_of_a_killed_run_are_swept_away(lab: Any, main: Any, place: str) -> None:
    lab.matrix()
    (lab.out / place).mkdir(parents=True, exist_ok=True)
    (lab.out / place / ".abc.json.123.tmp").write_bytes(b"half a rec")
    assert main("run", "m.toml", "--out", "out").status == 0
    assert not list(lab.out.rglob("*.tmp"))


@pytest.mark.slow
def test_finished_matrix_runs_again_without_touching_a_file(lab: Any, main: Any, matrix: str) -> None:
    first = main("run", matrix, "--out", "out")
    before, table = lab.files(), (lab.out / "leaderboard.csv").read_bytes()
    again = main("run", matrix, "--out", "out")
    assert (again.status, again.out) == (0, first.out)
    assert lab.files() == before
    assert (lab.out / "leaderboard.csv").read_bytes() == table


@pytest.mark.slow
def test_two_workers_and_one_write_the_same_table(lab: Any, main: Any, matrix: str) -> None:
    for workers in ("1", "2"):
        assert main("run", matrix, "--out", workers, "--workers", workers).status == 0
    assert lab.csv("1") == lab.csv("2")


def test_new_attack_on_a_finished_matrix_trains_no_victim(lab: Any, main: Any) -> None:
    main("run", lab.matrix('attack = ["blind"]'), "--out", "out")
    before = lab.files()
    assert main("run", lab.matrix('attack = ["blind", "./toy_peek.py"]'), "--out", "out").status == 0
    after = lab.files()
    assert {name: after[name] for name in before} == before
    assert sum(name.startswith("victims") for name in after) == sum(name.startswith("victims") for name in before)


@pytest.mark.slow
def test_part_of_a_matrix_first_and_the_whole_of_it_later_do_nothing_twice(lab: Any, main: Any, matrix: str) -> None:
    assert main("run", matrix, "--out", "out", "--only", "seed=1").status == 0
    before = lab.files()
    assert main("run", matrix, "--out", "out").status == 0
    assert {name: lab.files()[name] for name in before} == before
    main("run", matrix, "--out", "whole")
    assert lab.csv() == lab.csv("whole")


@pytest.mark.slow
def test_victim_of_changed_code_is_trained_again(lab: Any, main: Any) -> None:
    main("run", lab.matrix('attack = ["blind"]'), "--out", "out")
    before = lab.files()
    source = lab.folder / "toy_signals.py"
    source.write_text(source.read_text().replace("randn(self.n", "rand(self.n"))
    assert main("run", lab.matrix('attack = ["./toy_peek.py"]'), "--out", "out").status == 0
    changed = {name for name in before if lab.files()[name] != before[name]}
    assert {name.split("/")[0] for name in changed} == {"victims"}  # the record of `blind` is not asked for


def has_written(lab: Any, run: Any) -> bool:
    return len(lab.files()) > 0


def has_started_processes(lab: Any, run: Any) -> bool:
    return len(children(run.pid)) > 2  # the two of the run and Python's own tracker of locks


@pytest.mark.slow
@pytest.mark.parametrize("moment", [has_started_processes, has_written])
def test_interrupted_run_says_how_to_go_on(lab: Any, matrix: str, moment: Any) -> None:
    run = lab.start("run", matrix, "--out", "out", "--workers", "2")
    assert until(lambda: moment(lab, run), 120)
    os.killpg(run.pid, signal.SIGINT)
    assert run.end(30) == 130, run.text
    assert run.text.endswith("splitleak: interrupted; run the same command again to go on\n")
    assert "Traceback" not in run.text
