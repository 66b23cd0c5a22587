"""Whatever a peer with a valid certificate sends, the server refuses it in one line, lives, and goes on unchanged."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ..forks import Fork
from .hostile import ALL
from .hostile_lab import Lab, lab_in
from .test_wire_bits import InProcess

pytestmark = pytest.mark.slow  # each test starts processes


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
    peer = made.throw(name)
    assert peer.end() == 0

    def lines() -> list[str]:
        return [line for line in server.lines[known:] if ALL[name].wanted in line]

    try:
        server.until(lines, within=20)
    except AssertionError:
        raise AssertionError(server.text + peer.text) from None
    assert alive(server)
    assert "Traceback" not in server.text
    assert lines()[0].startswith(("splitleak: refused: client 0: ", "splitleak: client 0 is excluded ("))
    assert len(lines()) == 1
    assert lines()[0].isprintable()
    assert len(lines()[0]) < 1200


def test_an_honest_client_trains_after_all_that_with_unchanged_bits(served: tuple[Lab, Fork]) -> None:
    made, server = served
    assert made.throw("NaN in a tensor").end() == 0
    honest = made.join()
    assert [honest.end(), server.end()] == [0, 0], honest.text + server.text
    InProcess(made).check(made)
