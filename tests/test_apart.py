"""A function that is called apart leaves nothing behind but its answer."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from splitleak import apart
from splitleak.contract import BadInput
from splitleak.contract.errors import Raised

pytestmark = pytest.mark.skipif(not apart.possible(), reason="needs Linux")


def test_the_answer_and_what_was_said_come_back() -> None:
    heard: list[str] = []

    def function(say: apart.Say) -> list[object]:
        say("one")
        say("two\nlines")
        return [1, "a" * 10**6, None]

    assert apart.call(function, heard=heard.append) == [1, "a" * 10**6, None]
    assert heard == ["one", "two\nlines"]


def test_nothing_else_comes_back() -> None:
    before = torch.get_default_dtype(), torch.get_rng_state()

    def function(say: apart.Say) -> None:
        torch.set_default_dtype(torch.float64)
        torch.rand(3)
        sys.left_behind = True  # type: ignore[attr-defined]
        threading.Thread(target=time.sleep, args=(1000,)).start()

    apart.call(function)
    assert torch.get_default_dtype() is before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert not hasattr(sys, "left_behind")


def test_processes_that_it_leaves_are_ended(tmp_path: Path) -> None:
    def function(say: apart.Say) -> int:
        child = os.fork()
        if child == 0:
            while True:
                time.sleep(10)
        return child

    left = apart.call(function)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and Path(f"/proc/{left}").exists():
        if " Z" in Path(f"/proc/{left}/stat").read_text().partition(")")[2][:3]:
            break  # killed; nobody has asked for its status yet
        time.sleep(0.01)
    else:
        assert not Path(f"/proc/{left}").exists()


def test_a_hang_is_ended() -> None:
    with pytest.raises(apart.TimedOut, match=r"0\.1 seconds"):
        apart.call(lambda say: time.sleep(1000), timeout=0.1)


@pytest.mark.parametrize(
    ("end", "how"),
    [(lambda: os._exit(3), "exit status 3"), (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL")],
)
def test_a_process_that_ends_is_named(end: object, how: str) -> None:
    with pytest.raises(apart.Died, match=how):
        apart.call(lambda say: end())  # type: ignore[operator]


def test_a_process_that_dies_while_its_own_child_lives_is_noticed() -> None:
    def function(say: apart.Say) -> None:
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(4)

    with pytest.raises(apart.Died, match="exit status 4"):
        apart.call(function)


def test_exceptions() -> None:
    def bad(say: apart.Say) -> None:
        raise BadInput("matrix: no")

    def other(say: apart.Say) -> None:
        raise KeyboardInterrupt

    with pytest.raises(BadInput, match=r"^matrix: no$"):
        apart.call(bad)
    with pytest.raises(Raised, match="KeyboardInterrupt"):
        apart.call(other)


def test_autograd_works_in_a_fork_of_a_process_that_has_used_it() -> None:
    def gradient(say: apart.Say | None = None) -> float:
        x = torch.ones(200, 200, requires_grad=True)
        (x @ x).sum().backward()
        assert x.grad is not None
        return float(x.grad.sum())

    assert gradient() == apart.call(gradient)
