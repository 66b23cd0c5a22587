"""Ctrl-C while other processes do the jobs: it is answered by the run alone, and where nothing is half done.

Python raises KeyboardInterrupt between any two instructions. Between those that hand a result from one thread to
another, it leaves a lock taken, and the run hangs.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """A context manager in which Ctrl-C is only noted, until `check` raises it.

    If the caller has a handler of its own or ignores Ctrl-C, that stays as it is.
    """

    def __init__(self) -> None:
        self.noted = False
        self._deferred = False

    def __enter__(self) -> Interrupts:
        in_main = threading.current_thread() is threading.main_thread()  # no other thread may set a handler
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._deferred = True
        return self

    def __exit__(self, *error: object) -> None:
        if self._deferred:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.noted = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.noted:
            raise KeyboardInterrupt


@contextmanager
def no_interrupts_for_children() -> Iterator[None]:
    """Processes that this thread starts meanwhile never hear Ctrl-C: they inherit the signals that it blocks."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
