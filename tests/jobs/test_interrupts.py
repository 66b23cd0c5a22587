"""Ctrl-C while other processes do the jobs is answered where nothing is half done."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from splitleak.jobs.interrupts import Interrupts, no_interrupts_for_children


@pytest.fixture(autouse=True)
def python_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)  # in this thread; a signal to the process may reach another one, later


def test_is_raised_at_the_next_check_and_not_before() -> None:
    with Interrupts() as interrupts:
        interrupts.check()
        press_ctrl_c()
        assert interrupts.noted
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    with pytest.raises(KeyboardInterrupt):
        press_ctrl_c()


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["ignored", "of the caller's own"])
def test_another_handler_stays(handler: Any) -> None:
    signal.signal(signal.SIGINT, handler)
    with Interrupts() as interrupts:
        press_ctrl_c()
        assert signal.getsignal(signal.SIGINT) is handler
        assert not interrupts.noted
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_run_in_another_thread_leaves_the_handler_alone() -> None:
    inside = []

    def run() -> None:
        with Interrupts():
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert inside == [signal.default_int_handler]


def test_a_child_never_hears_it() -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('lives')"
    with no_interrupts_for_children():
        heard = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert heard.stdout == "lives\n"


def test_a_lock_that_an_interrupt_left_open_is_an_interrupt(main: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        lock = threading.Lock()
        try:
            raise KeyboardInterrupt
        finally:
            lock.release()  # RuntimeError: it was never taken

    monkeypatch.setattr("splitleak.api.run", interrupted)
    ran = main("run", "quick")
    assert ran.status == 130
    assert ran.err == "splitleak: interrupted; run the same command again to go on\n"
