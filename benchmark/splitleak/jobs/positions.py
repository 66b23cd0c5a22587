"""How far the jobs of other processes are: short messages through pipes that nobody waits for."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for

from splitleak.jobs.executors import Observer
from splitleak.jobs.schedule import Job

TICK = 0.2  # seconds between two looks for the end of the run


def teller(pipe: Connection, job: Job) -> Callable[[str], None]:
    """What sends the position of this job ("epoch 3/20"). A full pipe drops the message: no job waits to be shown."""
    os.set_blocking(pipe.fileno(), False)

    def tell(position: str) -> None:
        with contextlib.suppress(BlockingIOError):
            pipe.send_bytes(f"{job.key} {position}".encode())  # shorter than a page, so it is sent whole or not at all

    return tell


class Positions:
    """Receives the positions of the running jobs in a thread, and passes them on to the observer."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.jobs: dict[Connection, Job] = {}
        self.reading = threading.Lock()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.thread.start()

    def follow(self, pipe: Connection, job: Job) -> None:
        """Its process starts this job."""
        self.jobs[pipe] = job

    def forget(self, pipe: Connection) -> None:
        """Its job has ended: pass on what it has sent."""
        while self._pass_on(pipe):
            pass
        self.jobs.pop(pipe, None)

    def close(self) -> None:
        self.over.set()
        self.thread.join()

    def _receive(self) -> None:
        while not self.over.is_set():
            followed = list(self.jobs)
            if not followed:
                self.over.wait(TICK)
                continue
            readable = wait_for(followed, TICK)
            for pipe in followed:
                if pipe in readable:
                    self._pass_on(pipe)

    def _pass_on(self, pipe: Connection) -> bool:
        """Pass on one message; False if there is none, or if the process has died. Late ones of another job go."""
        with self.reading:
            try:
                if not pipe.poll():
                    return False
                key, _, position = pipe.recv_bytes().decode().partition(" ")
            except (EOFError, OSError):
                return False
        job = self.jobs.get(pipe)
        if job is not None and job.key == key:
            self.observer.moved(job, position)
        return True
