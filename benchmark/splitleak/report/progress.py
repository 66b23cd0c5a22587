"""The progress bar of a run: jobs done and failed, and what is running now.

It shows no time left: jobs differ a hundredfold in length, so any estimate from those that have ended is wrong.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm
from tqdm.std import TqdmDefaultWriteLock

from splitleak.jobs.schedule import Job
from splitleak.options import note
from splitleak.plan import plugins
from splitleak.printable import printable
from splitleak.report.text import shorten

FORMAT = "{n_fmt}/{total_fmt} jobs [{elapsed}]{postfix}"
COUNTERS = 24  # characters of FORMAT before the postfix, about
TICK = 1.0  # seconds between two updates of the elapsed time on a terminal


_drawing = TqdmDefaultWriteLock.th_lock


def _own_lock() -> None:
    """In a fork: the lock that all processes share would stay taken if this one is killed while it draws a bar."""
    _drawing.release()
    tqdm.set_lock(threading.RLock())


# no fork while a thread draws: in there nobody would release what it holds
os.register_at_fork(before=_drawing.acquire, after_in_parent=_drawing.release, after_in_child=_own_lock)


class Progress:
    """A context manager that shows jobs by their labels."""

    def __init__(self, total: int, visible: bool = True, file: TextIO | None = None) -> None:
        hidden = not visible or not total
        self.running: list[str] = []
        self.positions: dict[str, str] = {}  # how far a running job is
        self.counts: Counter[str] = Counter()
        self._bar = tqdm(total=total, disable=hidden, bar_format=FORMAT, file=file or sys.stderr)
        self._over = threading.Event()
        self._ticks = not hidden and (file or sys.stderr).isatty()

    def __enter__(self) -> Self:
        if self._ticks:
            threading.Thread(target=self._tick, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._bar.close()

    def _tick(self) -> None:
        """Keep the elapsed time moving while a long job runs."""
        while not self._over.wait(TICK):
            self._bar.refresh()

    def show_started(self, label: str) -> None:
        """A job has started; several may have the same label."""
        self.running.append(label)
        self._show(refresh=True)

    def show_moved(self, label: str, position: str) -> None:
        """A running job has come so far: "epoch 3/20". Only a terminal shows it, or a log file would be long."""
        self.positions[label] = position
        if self._ticks:
            self._show(refresh=True)

    def show_ended(self, label: str, status: str) -> None:
        """A job has ended, whether its start was announced or not; status: victim, done, skipped, diverged, failed."""
        if label in self.running:
            self.running.remove(label)
        self.positions.pop(label, None)
        self.counts[status] += 1
        self._show(refresh=False)
        self._bar.update()

    def _show(self, refresh: bool) -> None:
        room = shutil.get_terminal_size().columns - COUNTERS
        running = [", ".join(filter(None, (label, self.positions.get(label)))) for label in self.running]
        self._bar.set_postfix_str(printable(state(self.counts, running, room)), refresh=refresh)


def state(counts: Counter[str], running: Sequence[str], width: int) -> str:
    """`3 done, 1 failed; running: channel on none`: counts, and as many labels as fit."""
    counted = ", ".join(f"{n} {'trained' if status == 'victim' else status}" for status, n in counts.items())
    more = f" (+{len(running) - 1})" if len(running) > 1 else ""
    together = "; ".join([*([counted] if counted else []), *([f"running: {', '.join(running)}"] if running else [])])
    if len(together) <= width or not running:
        return shorten(together, width)
    first = "; ".join([*([counted] if counted else []), f"running: {running[0]}"])
    return shorten(first, width - len(more)) + more


class JobProgress(Progress):
    """The progress bar as the observer of an executor: it names each job."""

    def __init__(self, total: int, base: Path, visible: bool = True) -> None:
        super().__init__(total, visible)
        self.base = base

    def started(self, job: Job) -> None:
        self.show_started(job_label(job, self.base))

    def moved(self, job: Job, position: str) -> None:
        self.show_moved(job_label(job, self.base), position)

    def ended(self, job: Job, status: str) -> None:
        self.show_ended(job_label(job, self.base), status)


def job_label(job: Job, base: Path) -> str:
    """A job in the bar: `training none, cut 2, seed 0`, or `channel on none, cut 2, seed 0`."""
    cell = job.cell
    cut = "" if cell.cut is None else f", cut {cell.cut}"
    victim = f"{plugins.label('defense', cell.defense, base)}{cut}, seed {cell.seed}"
    if job.kind == "victim":
        return f"training {victim}"
    return f"{plugins.label('attack', cell.attack, base)} on {victim}"


class Notes:
    """Lines on standard error for the user: what the loader left out, which file was damaged."""

    def __init__(self, visible: bool) -> None:
        self.visible = visible

    def show(self, lines: Sequence[str]) -> None:
        for line in lines if self.visible else ():
            tqdm.write(note(line), file=sys.stderr)
