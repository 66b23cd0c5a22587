"""The rules for messages at both ends, without processes: kinds, values, pieces, memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from splitleak.contract import Task
from splitleak.contract.nouns import Form
from splitleak.printable import in_a_line
from splitleak.train.party import batched
from splitleak.wire.batch_sizes import BatchSizes
from splitleak.wire.connection import Connection, ConnectionLost
from splitleak.wire.invalid_message import InvalidMessage
from splitleak.wire.kinds import Sender
from splitleak.wire.memory import Memory
from splitleak.wire.message import PIECE, pack, pieces
from splitleak.wire.network_memory import objection_to_size
from splitleak.wire.single_victim import single_victim

from .hostile import raw

START = {"epoch": 0, "run": "ab12", "records": {"0": 32}}
EXPECTED = ("start", "gradient", "weights", "turn", "prediction")


def connection(*sent: bytes, sender: Sender = "server", memory: Memory | None = None) -> Connection:
    """One end, to which the other has sent these pieces."""
    made = Connection(f"the {sender}", sender, 0.1, memory)
    made.attach(iter(sent), lambda: None)
    made.end()  # no thread is left behind
    return made


def start(**changed: Any) -> bytes:
    return pack("start", **(START | changed))


FROM_A_HOSTILE_SERVER = {
    "a bool as an epoch": (start(epoch=True), "epoch is True; legal: whole numbers from 0 to"),
    "a negative epoch": (start(epoch=-1), "epoch is -1; legal"),
    "a run with control characters": (start(run="\x1b[2J"), r"run is '\x1b[2J'; legal: hexadecimal digits"),
    "a run of 10 kB": (start(run="a" * 10_000), "run is text of length 10000; legal"),
    "a thousand million records": (start(records={"0": 10**9}), "records[0] is 1000000000; legal"),
    "a client that is no number": (start(records={"x": 32}), "records has a key that is 'x'; legal: whole numbers"),
    "records nested deeply": (raw("start", "[" * 20_000), "not a message (a header with too many levels)"),
    "NaN": (raw("start", '{"epoch": NaN}'), "not a message (a malformed header)"),
    "no run": (pack("start", epoch=0, records={}), "has no value 'run'; legal: all of epoch, run, records"),
    "an unknown kind": (pack("run"), "sent message 'run', which no server sends; legal: 'start'"),
    "a client's kind": (pack("query", {"smashed": torch.zeros(1)}), "sent message 'query', which no server sends"),
    "a kind out of turn": (pack("features", {"features": torch.zeros(1)}), "sent message 'features', expected"),
    "an unknown tensor": (pack("gradient", {"gradient": torch.zeros(1), "x": torch.zeros(1)}), "unknown tensor 'x'"),
    "a message that is too large": (pack("gradient", {"gradient": torch.zeros(2**15)}), "legal: at most 65536"),
    "weights of no client": (pack("weights", {"../0": torch.zeros(1)}), "unknown tensor '../0'; legal: numbers of"),
    "a long reason": (pack("error", why="x" * 10_000), "why is text of length 10000; legal"),
    "bytes after the message": (start() + b"!", "bytes that are not a message"),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "wanted"), FROM_A_HOSTILE_SERVER.values(), ids=FROM_A_HOSTILE_SERVER.keys())
def test_a_client_rejects_what_no_server_may_send(sent: bytes, wanted: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        connection(sent).receive(*EXPECTED)
    assert wanted in str(caught.value)
    assert str(caught.value).startswith("the server: ")
    assert str(caught.value).isprintable()


def test_a_server_counts_no_heartbeat_of_a_client_as_a_sign_of_life() -> None:
    with pytest.raises(InvalidMessage, match="'heartbeat', which no client sends"):
        connection(pack("heartbeat"), pack("evaluated"), sender="client").receive("evaluated")
    assert connection(pack("heartbeat"), start()).receive("start").facts == START


@pytest.mark.parametrize("size", [PIECE // 4 - 100, PIECE // 4, PIECE, 5 * PIECE // 8])
def test_a_large_message_arrives_whole_from_its_pieces_and_gives_its_memory_back(size: int) -> None:
    sent, memory = torch.randn(size), Memory(10 * PIECE)
    whole = pack("query", {"smashed": sent})
    parts = list(pieces(whole))
    assert b"".join(parts) == whole
    assert max(map(len, parts)) <= PIECE
    end = connection(*parts, sender="client", memory=memory)
    end.limits = {"query": len(whole)}
    assert torch.equal(end.receive("query").tensors["smashed"], sent)
    assert memory.held.total() == 0


@pytest.mark.parametrize(
    "spoil",
    [lambda p: [p[0], p[1][:-1], *p[2:]], lambda p: [p[0], p[1] + b"!", *p[2:]], lambda p: [p[0], b"", *p[1:]]],
    ids=["a short piece", "a long piece", "an empty piece"],
)
def test_pieces_of_another_length_are_rejected(spoil: Callable[[list[bytes]], list[bytes]]) -> None:
    whole = pack("query", {"smashed": torch.zeros(PIECE)})
    end = connection(*spoil(list(pieces(whole))), sender="client")
    end.limits = {"query": len(whole)}
    with pytest.raises(InvalidMessage, match="bytes"):
        end.receive("query")


def test_a_message_larger_than_the_memory_is_not_assembled() -> None:
    whole = pack("query", {"smashed": torch.zeros(PIECE)})
    end = connection(*pieces(whole), sender="client", memory=Memory(2 * PIECE))
    end.limits = {"query": len(whole)}
    with pytest.raises(ConnectionLost, match="more than there is memory for"):
        end.receive("query")


def test_memory_is_waited_for_and_given_back_when_a_connection_ends() -> None:
    memory = Memory(100)
    assert memory.hold("a", 80, 0)
    assert not memory.hold("b", 30, 0.01)
    threading.Timer(0.05, lambda: memory.release("a", 80)).start()
    assert memory.hold("b", 30, 5)
    memory.forget("b")
    assert memory.hold("c", 100, 0)
    memory.release("b", 30)  # a late one of a connection that has ended
    assert not memory.hold("d", 1, 0)


@pytest.mark.parametrize("size", [2, 3, 32])
def test_the_sizes_of_the_batches_are_those_of_the_training(size: int) -> None:
    for n in range(2, 100):
        sizes = BatchSizes(n, size)
        assert list(sizes) == [len(batch) for batch in batched(torch.arange(n), size)]
        assert len(sizes) == len(list(sizes))


def test_the_memory_of_a_network_is_computed_without_building_it_or_drawing_random_numbers(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('[matrix]\ndataset = ["ecg_synthetic"]\nmodel = ["ecg_cnn"]\n')
    case = single_victim(str(tmp_path / "m.toml"), ())
    state = torch.get_rng_state()
    small, large = (Form((1, n), (0.0, 1.0), Task("classes", 5)) for n in (128, 2**24))
    assert objection_to_size(case, small, 200 * 10**6) is None
    problem = objection_to_size(case, large, 200 * 10**6)
    assert problem is not None
    assert "may use 200 MB for its clients (serve --memory MB)" in problem
    assert torch.equal(state, torch.get_rng_state())


def test_a_reason_is_cut_and_printable() -> None:
    assert in_a_line("\x1b" * 10, 8) == r"\x1b\x1…"
    assert in_a_line("fits", 8) == "fits"
