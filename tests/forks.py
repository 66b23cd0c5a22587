"""Both ends of a wire as processes of their own, forked from the test: what it has loaded they need not load."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from splitleak import cli
from splitleak.plan import plugins
from splitleak.wire import join, serve  # noqa: F401 loaded before the fork, once for all
from splitleak.wire.papers import Authority

Before = Callable[[], None]


class Fork:
    """The command line in a process of its own; `before` runs in it first, and may bend what is then run."""

    def __init__(self, folder: Path, args: list[str], before: Before | None = None) -> None:
        self.said, self.status = folder / f"{time.monotonic_ns()}.said", None
        self.pid = os.fork()
        if not self.pid:
            self._run(folder, args, before)

    def _run(self, folder: Path, args: list[str], before: Before | None) -> None:
        code = 70
        try:
            os.setsid()
            os.closerange(3, 1024)  # a test that is killed must not leave its pipes open here
            os.chdir(folder)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            out = os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
            sys.argv = ["splitleak", *args]
            if before:
                before()
            cli.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    @property
    def text(self) -> str:
        return self.said.read_text() if self.said.exists() else ""

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def end(self, within: float = 90) -> int:
        """Its exit status; negative: the signal that killed it."""
        until = time.monotonic() + within
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                self.kill()
                raise AssertionError(f"still running after {within} s: {self.text}")
            else:
                time.sleep(0.01)
        return self.status

    def kill(self, how: int = signal.SIGKILL) -> None:
        if self.status is None:
            os.kill(self.pid, how)

    def until(self, ready: Callable[[], Any], within: float = 60) -> None:
        end = time.monotonic() + within
        while not ready():
            assert time.monotonic() < end, self.text
            time.sleep(0.005)


@lru_cache
def warm() -> None:
    """What is loaded late: here once, not in every fork."""
    for kind in plugins.FOLDERS:
        plugins.names(kind)
    weight = torch.zeros(2, requires_grad=True)
    weight.sum().backward()
    torch.optim.Adam([weight], fused=True).step()


class Wire:
    """A folder with a matrix, certificates and a port, and the processes that the test has started there."""

    def __init__(self, folder: Path) -> None:
        warm()
        self.folder, self.port, self.started = folder, free_port(), list[Fork]()
        self.authority = Authority(folder / "papers")
        self.own = {name: self.authority.sign(name) for name in ("server", "client")}
        (folder / "seal").write_bytes(os.urandom(32))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def serve(self, *more: str, before: Before | None = None, out: str = "s", matrix: str = "m.toml") -> Fork:
        given = ["serve", matrix, "--listen", self.address, "--out", out, *self.own["server"], "--wait", "20", *more]
        return self._start(given, before)

    def join(
        self, number: int = 0, *more: str, before: Before | None = None, out: str = "c", matrix: str = "m.toml"
    ) -> Fork:
        given = ["join", matrix, "--client", str(number), "--server", self.address, "--out", out]
        return self._start([*given, *self.own["client"], "--seal", "seal", "--wait", "20", *more], before)

    def _start(self, args: list[str], before: Before | None) -> Fork:
        self.started.append(Fork(self.folder, args, before))
        return self.started[-1]

    def record(self, who: str, out: str) -> dict[str, Any]:
        (path,) = (self.folder / out / "wire").glob(f"*.{who}.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def weights(self, who: str, out: str) -> dict[str, Tensor]:
        (path,) = (self.folder / out / "wire/victims").glob(f"*.{who}.safetensors")
        return load_file(path)

    def kept(self, who: str, out: str) -> set[int]:
        """The epochs after which this end has kept its part."""
        files = (self.folder / out / "wire/victims").glob(f"*.{who}.epoch*.safetensors")
        return {int(path.name.partition("epoch")[2].partition(".")[0]) for path in files}

    def stop(self) -> None:
        for fork in self.started:
            fork.kill()
            if fork.status is None:
                os.waitpid(fork.pid, 0)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def same(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    """Not a bit differs."""
    return mine.keys() == theirs.keys() and all(torch.equal(t, theirs[name]) for name, t in mine.items())


def wires(folder: Path) -> Iterator[Wire]:
    wire = Wire(folder)
    yield wire
    wire.stop()
