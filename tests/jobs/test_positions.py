"""How far jobs of other processes are: nobody waits for it, and nothing of an earlier job is shown."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from splitleak.jobs.executors import Observer
from splitleak.jobs.positions import Positions, teller
from splitleak.jobs.schedule import Job


def named(key: str) -> Job:
    return cast(Job, SimpleNamespace(key=key))


class Seen:
    def __init__(self) -> None:
        self.moves: list[tuple[str, str]] = []

    def moved(self, job: Job, position: str) -> None:
        self.moves.append((job.key, position))


def until(ready: Callable[[], Any]) -> None:
    end = time.monotonic() + 10
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_pipe_that_nobody_reads_never_makes_a_job_wait() -> None:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    tell = teller(sender, named("a"))
    for step in range(20_000):  # far more than a pipe holds
        tell(f"step {step}")
    assert receiver.recv_bytes() == b"a step 0"


def test_positions_reach_the_observer_and_late_ones_of_an_earlier_job_do_not() -> None:
    seen = Seen()
    positions = Positions(cast(Observer, seen))
    receiver, sender = multiprocessing.Pipe(duplex=False)
    late, tell = teller(sender, named("first")), teller(sender, named("second"))
    positions.follow(receiver, named("second"))
    late("epoch 3/3")
    tell("epoch 1/3")
    until(lambda: seen.moves)
    positions.close()
    assert seen.moves == [("second", "epoch 1/3")]
    assert not positions.thread.is_alive()


def test_a_process_that_dies_ends_nothing_but_its_own_messages() -> None:
    seen = Seen()
    positions = Positions(cast(Observer, seen))
    (dead, gone), (receiver, sender) = (multiprocessing.Pipe(duplex=False) for _ in range(2))
    positions.follow(dead, named("a"))
    positions.follow(receiver, named("b"))
    gone.close()
    teller(sender, named("b"))("epoch 1/2")
    until(lambda: seen.moves)
    positions.close()
    assert seen.moves == [("b", "epoch 1/2")]
