"""The command line as a process forked from the test, so that it need not load the packages again."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from multiprocessing import resource_tracker, util
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from splitleak import cli
from splitleak.jobs import preload
from splitleak.plan import plugins

Before = Callable[[], None]


class Fork:
    """The command line in a process of its own; `before` runs in it first, for example to patch a function."""

    def __init__(self, folder: Path, args: list[str], before: Before | None = None) -> None:
        self.output, self.status = folder / f"{time.monotonic_ns()}.output", cast(int | None, None)
        self.pid = os.fork()
        if not self.pid:
            self._run(folder, args, before)

    def _run(self, folder: Path, args: list[str], before: Before | None) -> None:
        code = 70
        try:
            os.setsid()
            os.closerange(3, 1024)  # the process must not hold the pipes of a test that is killed
            forget_processes()
            os.chdir(folder)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            out = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
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
            util._exit_function()  # type: ignore[attr-defined]
            os._exit(code)

    @property
    def text(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def end(self, within: float = 90) -> int:
        """Wait for the exit status; negative: the signal that killed it."""
        until = time.monotonic() + within
        while (status := self.poll()) is None:
            if time.monotonic() > until:
                self.kill()
                raise AssertionError(f"still running after {within} s: {self.text}")
            time.sleep(0.01)
        return status

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status

    def kill(self, sent: int = signal.SIGKILL) -> None:
        if self.status is None:
            os.kill(self.pid, sent)

    def until(self, ready: Callable[[], Any], within: float = 60) -> None:
        end = time.monotonic() + within
        while not ready():
            assert time.monotonic() < end, self.text
            time.sleep(0.005)


def forget_processes() -> None:
    """In a fork: the processes and locks that `multiprocessing` knows of are those of the parent."""
    tracker: Any = resource_tracker._resource_tracker  # type: ignore[attr-defined]
    tracker._fd = tracker._pid = None
    util._finalizer_registry.clear()  # type: ignore[attr-defined]


@lru_cache
def load_packages() -> None:
    """Load once, before the first fork, what a command would load late."""
    preload.preload()
    for kind in plugins.FOLDERS:
        plugins.names(kind)
    weight = torch.zeros(2, requires_grad=True)
    weight.sum().backward()
    torch.optim.Adam([weight], fused=True).step()


class Wire:
    """A folder with a matrix, certificates and a port, and the processes that the test has started in it."""

    def __init__(self, folder: Path) -> None:
        from splitleak.wire import join, serve  # noqa: F401 loaded once, before the forks
        from splitleak.wire.authority import Authority

        load_packages()
        gc.collect()  # a fork that collects earlier tests' garbage loses an interrupt that comes in a finaliser
        self.folder, self.port, self.started = folder, free_port(), list[Fork]()
        self.authority = Authority(folder / "certificates")
        self.certificates = {name: self.authority.sign(name) for name in ("server", "client0", "client1")}
        (folder / "seal").write_bytes(os.urandom(32))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def serve(self, *more: str, before: Before | None = None, out: str = "s", matrix: str = "m.toml") -> Fork:
        args = [
            "serve",
            matrix,
            "--listen",
            self.address,
            "--out",
            out,
            *self.certificates["server"],
            "--wait",
            "20",
            *more,
        ]
        return self.start(args, before)

    def join(
        self, number: int = 0, *more: str, before: Before | None = None, out: str = "c", matrix: str = "m.toml"
    ) -> Fork:
        args = ["join", matrix, "--client", str(number), "--server", self.address, "--out", out]
        return self.start([*args, *self.certificate(number), "--seal", "seal", "--wait", "20", *more], before)

    def certificate(self, number: int) -> list[str]:
        """Of one client, as options of `join`."""
        name = f"client{number}"
        if name not in self.certificates:
            self.certificates[name] = self.authority.sign(name)
        return self.certificates[name]

    def start(self, args: list[str], before: Before | None) -> Fork:
        self.started.append(Fork(self.folder, args, before))
        return self.started[-1]

    def record(self, who: str, out: str) -> dict[str, Any]:
        (path,) = (self.folder / out / "wire").glob(f"*.{who}.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def weights(self, who: str, out: str) -> dict[str, Tensor]:
        (path,) = (self.folder / out / "wire/victims").glob(f"*.{who}.safetensors")
        return load_file(path)

    def saved(self, who: str, out: str) -> set[int]:
        """The epochs that this end has saved."""
        files = (self.folder / out / "wire/victims").glob(f"*.{who}.epoch*.safetensors")
        return {int(path.name.partition("epoch")[2].partition(".")[0]) for path in files}

    def stop(self) -> None:
        for fork in self.started:
            fork.kill()
            if fork.status is None:
                os.waitpid(fork.pid, 0)


def free_port() -> int:
    """A port that no process uses at the moment."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether the same names have the same bits."""
    return one.keys() == other.keys() and all(torch.equal(t, other[name]) for name, t in one.items())


def wire_in(folder: Path) -> Iterator[Wire]:
    """For a fixture: its processes end with the test."""
    wire = Wire(folder)
    yield wire
    wire.stop()
