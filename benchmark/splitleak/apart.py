"""Call a function in a process of its own, a fork of this one: nothing of it stays here but what it answers.

Whatever the function changes stays in its process: the settings of torch, the globals of modules, threads, processes
that it starts. A call that hangs, ends the interpreter or crashes it ends that process alone; its process group is
ended with it, and so is what it forked, even if that left the group. An answer is what JSON holds.

A fork needs Linux and memory that no GPU shares; elsewhere `possible` is False and the caller does without. torch must
not have computed on several threads before: those of OpenMP are missing in a fork, which waits for them if it, too,
wants several. So a run computes on one.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch

from splitleak.contract.errors import BadInput, Diverged, Raised

Say = Callable[[str], None]  # what the function calls to send a line of text before its answer
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
PIECE = 2**16  # bytes of a read
ENDING = 5.0  # seconds for a process to end after it has closed its end of the pipe


class Died(Exception):
    """The process ended without an answer; the text says how: "SIGKILL", "exit status 3"."""


class TimedOut(Exception):
    """The process took longer than it was allowed to and was ended."""


KINDS: tuple[type[Exception], ...] = (BadInput, Diverged, Died)  # raised again as they are; all others as Raised


def possible() -> bool:
    """Whether a function can be called apart from this process."""
    return sys.platform == "linux" and not torch.cuda.is_initialized()


def call(function: Callable[[Say], Any], *, timeout: float | None = None, heard: Say | None = None) -> Any:
    """Call `function(say)` in a fork of this process and return its answer.

    timeout: seconds; None: no limit. heard: is given each text that the function says. Raises BadInput and Diverged
    where the function does, Raised for any other exception, TimedOut, and Died where there is no answer.
    """
    child, reader = begin(function)
    return finish(child, reader, timeout=timeout, heard=heard)


def begin(function: Callable[[Say], Any], prepare: Callable[[int], None] | None = None) -> tuple[int, int]:
    """The process of a call, and the pipe from which `finish` reads its answer.

    prepare: is called first, in the new process, with the file descriptor that the answer is written to.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    reader, writer = os.pipe()
    parent, child = os.getpid(), 0
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the child is sure to be ended
    try:
        child = _fork()
        if child == 0:
            os.close(reader)
            _answer(function, prepare, writer, parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(writer)
    except BaseException:
        os.close(reader)
        if child:
            end(child)
        raise
    return child, reader


def finish(child: int, reader: int, *, timeout: float | None = None, heard: Say | None = None) -> Any:
    """The answer of a call that has begun; its process is ended."""
    try:
        return _result(_last_message(reader, child, timeout, heard or (lambda text: None)), child)
    finally:
        os.close(reader)
        end(child)


def _fork() -> int:
    with warnings.catch_warnings():  # Python 3.12 warns of locks of other threads: this package holds none then
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _answer(
    function: Callable[[Say], Any], prepare: Callable[[int], None] | None, writer: int, parent: int
) -> NoReturn:
    """The whole life of the new process."""
    me = os.getpid()
    try:
        _settle_in(parent)
        if prepare:
            prepare(writer)
        line = json.dumps({"answer": function(lambda text: _write(writer, json.dumps({"said": text})))})
    except BaseException as error:
        line = json.dumps(_told(error))
    if os.getpid() != me:  # the function forked, and its fork went on here
        os._exit(0)
    with contextlib.suppress(BaseException):
        _write(writer, line)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    os._exit(0)


def _told(error: BaseException) -> dict[str, Any]:
    for kind in KINDS:
        if isinstance(error, kind):
            return {"raised": kind.__name__, "with": [str(error)]}
    raised = Raised.of(error)
    return {"raised": "Raised", "with": [raised.why, raised.traceback]}


def _settle_in(parent: int) -> None:
    """A process group of its own, that no Ctrl-C of a terminal reaches; dies with its parent, as do its own forks."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _die_with(parent)
    parents = [parent]
    os.register_at_fork(before=lambda: parents.append(os.getpid()), after_in_child=lambda: _die_with(parents[-1]))


def _die_with(parent: int) -> None:
    """Be killed when the parent is, also if that was so already."""
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _write(pipe: int, line: str) -> None:
    rest = memoryview(line.encode() + b"\n")
    while rest:
        rest = rest[os.write(pipe, rest) :]


def _last_message(reader: int, child: int, timeout: float | None, heard: Say) -> dict[str, Any] | None:
    """Read what the process says until its answer; None if it ends without one."""
    for line in _lines(reader, child, timeout):
        message: dict[str, Any] = json.loads(line)
        if "said" not in message:
            return message
        heard(message["said"])
    return None


def _lines(reader: int, child: int, timeout: float | None) -> Iterator[bytes]:
    """The lines that the process writes until it ends or closes the pipe."""
    deadline = None if timeout is None else time.monotonic() + timeout
    ended, poll, pieces = os.pidfd_open(child), select.poll(), list[bytes]()
    poll.register(reader, select.POLLIN)
    poll.register(ended, select.POLLIN)
    try:
        while True:
            wait = None if deadline is None else max(0, deadline - time.monotonic()) * 1000
            ready = {fd for fd, _ in poll.poll(wait)}
            if not ready:
                raise TimedOut(f"longer than {timeout:g} seconds")
            piece = os.read(reader, PIECE) if reader in ready else b""
            if not piece:
                select.select([ended], [], [], ENDING)
                return
            first, *others = piece.split(b"\n")
            pieces.append(first)
            for other in others:
                yield b"".join(pieces)
                pieces = [other]
    finally:
        os.close(ended)


def _result(message: dict[str, Any] | None, child: int) -> Any:
    if message is None:
        raise Died(_how(child))
    if "raised" in message:
        kinds: dict[str, Callable[..., Exception]] = {kind.__name__: kind for kind in (*KINDS, Raised)}
        raise kinds[message["raised"]](*message["with"])
    return message["answer"]


def _how(child: int) -> str:
    """How the process ended; it stays a zombie, so that nobody else gets its number."""
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return "it closed its files"
    exited = ended.si_code == os.CLD_EXITED
    return f"exit status {ended.si_status}" if exited else signal.Signals(ended.si_status).name


def end(child: int) -> None:
    """End the process and all that it left in its group."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
