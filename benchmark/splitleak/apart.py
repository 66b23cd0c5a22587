"""Call a function in a process of its own, a fork of this one: nothing of it stays here but what it answers.

Whatever the function changes stays in its process: the settings of torch, the globals of modules, threads, processes
that it starts. A call that hangs, ends the interpreter or crashes it ends that process alone, and its process group is
ended with it. An answer is what JSON holds.

A fork needs Linux and memory that no GPU shares; elsewhere `possible` is False and the caller does without.
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
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import torch

from splitleak.contract.errors import BadInput

Say = Callable[[str], None]  # what the function calls to send a line of text before its answer
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
PIECE = 2**16  # bytes of a read


class Died(Exception):
    """The process ended without an answer: killed, crashed, or left by `os._exit`."""


class TimedOut(Exception):
    """The process took longer than it was allowed to and was ended."""


def possible() -> bool:
    """Whether a function can be called apart from this process."""
    return sys.platform == "linux" and not torch.cuda.is_initialized()


def call(function: Callable[[Say], Any], *, timeout: float | None = None, heard: Say | None = None) -> Any:
    """Call `function(say)` in a fork of this process and return its answer.

    timeout: seconds; None: no limit. heard: is given each text that the function says. Raises BadInput where the
    function does, TimedOut, and Died where the process ends without an answer or the function raises another exception.
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
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _answer(function, prepare, writer, parent)
    os.close(writer)
    return child, reader


def finish(child: int, reader: int, *, timeout: float | None = None, heard: Say | None = None) -> Any:
    """The answer of a call that has begun; its process is ended."""
    try:
        return _result(_last_line(reader, child, timeout, heard or (lambda text: None)), child)
    finally:
        os.close(reader)
        end(child)


def _answer(
    function: Callable[[Say], Any], prepare: Callable[[int], None] | None, writer: int, parent: int
) -> NoReturn:
    """The whole life of the new process."""
    try:
        os.setsid()  # a process group of its own, and no Ctrl-C
        _die_with(parent)
        if prepare:
            prepare(writer)
        line = json.dumps({"answer": function(lambda text: _write(writer, json.dumps({"said": text})))})
    except BadInput as error:
        line = json.dumps({"bad input": str(error)})
    except BaseException:
        line = json.dumps({"raised": traceback.format_exc()})
    with contextlib.suppress(BaseException):
        _write(writer, line)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    os._exit(0)


def _die_with(parent: int) -> None:
    """Be killed when the parent is."""
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _write(pipe: int, line: str) -> None:
    rest = line.encode() + b"\n"
    while rest:
        rest = rest[os.write(pipe, rest) :]


def _last_line(reader: int, child: int, timeout: float | None, heard: Say) -> dict[str, Any] | None:
    """Read what the process says until its answer; None if it ends without one."""
    deadline = None if timeout is None else time.monotonic() + timeout
    ended, poll, left = os.pidfd_open(child), select.poll(), b""
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
                return None
            *lines, left = (left + piece).split(b"\n")
            for message in map(json.loads, lines):
                if "said" not in message:
                    found: dict[str, Any] = message
                    return found
                heard(message["said"])
    finally:
        os.close(ended)


def _result(message: dict[str, Any] | None, child: int) -> Any:
    if message is None:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        how = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
        raise Died(f"its process ended without an answer ({how})")
    if "bad input" in message:
        raise BadInput(message["bad input"])
    if "raised" in message:
        raise Died(message["raised"])
    return message["answer"]


def end(child: int) -> None:
    """End the process and all that it left in its group."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
