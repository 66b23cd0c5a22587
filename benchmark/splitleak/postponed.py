"""A call that is made later, in a process that has the memory of this moment.

The process is a fork of this one. It waits until its answer is wanted, so the function cannot have told anything to
anybody before. Then it is sealed: it writes no file, holds no pipe or socket of this process, and cannot change memory
that the two processes share. Only its answer comes back.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

from splitleak import apart

PROT_READ = 1  # of mprotect(2)


class Postponed:
    """A function that runs when `answer` is called, as if it had been called now. Needs `apart.possible()`."""

    def __init__(self, function: Callable[[], Any]) -> None:
        waits, self._go = os.pipe()

        def prepare(writer: int) -> None:
            os.read(waits, 1)
            _seal(writer)

        self._child, self._reader = apart.begin(lambda say: function(), prepare)
        self._over = False
        os.close(waits)

    def answer(self) -> Any:
        """Run the function now. Raises as `apart.call` does; ask only once."""
        os.write(self._go, b".")
        self._over = True
        os.close(self._go)
        return apart.finish(self._child, self._reader)

    def drop(self) -> None:
        """End the process if nobody has asked for its answer."""
        if not self._over:
            self._over = True
            os.close(self._go)
            os.close(self._reader)
            apart.end(self._child)


def _seal(writer: int) -> None:
    """Leave this process nothing to write to but the pipe of its answer."""
    import resource  # Windows has none

    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    os.closerange(3, writer)
    os.closerange(writer + 1, os.sysconf("SC_OPEN_MAX"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    for start, stop in _shared():
        ctypes.CDLL(None).mprotect(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), PROT_READ)


def _shared() -> list[tuple[int, int]]:
    """Where memory is mapped that other processes may read and this one may write."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        lines = [line.split() for line in file]
    ranges = [line[0].split("-") for line in lines if line[1].startswith("rw") and line[1].endswith("s")]
    return [(int(start, 16), int(stop, 16)) for start, stop in ranges]
