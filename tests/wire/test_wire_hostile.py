"""A peer with a valid certificate is refused in one line, whatever it sends, and honest clients train beside it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitleak.wire import registry

from ..conftest import TOYS
from ..forks import Fork, Wire, free_port
from .hostile import HELLOS, SEATED, Attack, Peer, flood, hello_of, throw
from .test_wire_bits import InProcess, write

pytestmark = pytest.mark.slow  # each test starts processes
ALL = HELLOS | SEATED
PARALLEL = '{ n = 2, mode = "parallel" }'
LARGEST_MB = 600  # of the server's memory at its peak


class Lab(Wire):
    """A wire with hostile peers in processes of their own."""

    def facts(self, number: int) -> dict[str, Any]:
        return hello_of(self.folder / "m.toml", number)

    def hostile(self, act: Callable[[], None]) -> Fork:
        def before() -> None:
            act()
            raise SystemExit(0)

        return self.start(["list", "threats"], before)

    def throw(self, name: str, number: int = 0) -> Fork:
        options, facts = self.certificate(number), self.facts(number)
        return self.hostile(lambda: throw(self.address, options, facts, ALL[name]))


def lab_in(folder: Path, clients: str = "1", **more: str) -> Lab:
    shutil.copy(TOYS / "toy_signals.py", folder)
    lab = Lab(folder)
    write(lab, "vanilla", clients, **{"train": "epochs = 2\nbatch_size = 32"} | more)
    text = (folder / "m.toml").read_text().replace("batch_size = 12\n", "")
    (folder / "m.toml").write_text(text)
    return lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = lab_in(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Fork]]:
    """One server that has to live through all attacks."""
    made = lab_in(tmp_path_factory.mktemp("hostile"))
    server = made.serve("--wait", "300")
    server.until(lambda: "listening" in server.text)
    yield made, server
    made.stop()


def alive(fork: Fork) -> bool:
    return os.waitpid(fork.pid, os.WNOHANG) == (0, 0)


@pytest.mark.parametrize("name", ALL)
def test_what_is_not_legal_is_refused_in_one_line_and_the_server_lives(served: tuple[Lab, Fork], name: str) -> None:
    made, server = served
    known = len(server.lines)
    assert made.throw(name).end() == 0

    def lines() -> list[str]:
        return [line for line in server.lines[known:] if ALL[name].wanted in line]

    server.until(lines, within=20)
    assert alive(server)
    assert "Traceback" not in server.text
    assert lines()[0].startswith(("splitleak: refused: client 0: ", "splitleak: client 0 is excluded ("))
    assert len(lines()) == 1
    assert lines()[0].isprintable()
    assert len(lines()[0]) < 1200
