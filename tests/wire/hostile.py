"""A peer with a valid certificate that sends whatever it likes, and what it likes to send."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from splitleak.train.data import load_data
from splitleak.wire.agreement import Hello
from splitleak.wire.message import pack
from splitleak.wire.single_victim import single_victim

Pieces = Callable[[dict[str, Any]], list[bytes]]  # facts of an honest hello -> what the peer sends, piece by piece


@dataclass(frozen=True)
class Attack:
    """What a hostile peer sends, and a part of the line in which the server refuses it.

    seated: it first sends an honest hello and waits for the training to start.
    """

    pieces: Pieces
    wanted: str
    seated: bool = False


def hello_of(matrix: Path, number: int) -> dict[str, Any]:
    """The facts that an honest client would send."""
    case = single_victim(str(matrix), ())
    data = load_data(case, torch.device("cpu"))
    return vars(Hello.of(case, number, data.form, len(data.private) // case.cell.clients.n, {}))


def raw(kind: str, facts: str, tensors: dict[str, Any] | None = None, body: bytes = b"") -> bytes:
    """A message with this text as its facts."""
    header = json.dumps({"__metadata__": {"kind": kind, "facts": facts}, **(tensors or {})}).encode()
    return len(header).to_bytes(8, "little") + header + body


def hello(**changed: Any) -> Pieces:
    """A hello with some values changed."""
    return lambda facts: [raw("hello", json.dumps(facts | changed))]


def hello_text(name: str, text: str) -> Pieces:
    """A hello with this JSON text as one of its values."""
    return lambda facts: [raw("hello", json.dumps(facts | {name: "@@"}).replace('"@@"', text))]


def without(name: str) -> Pieces:
    """A hello without one of its values."""
    return lambda facts: [raw("hello", json.dumps({k: v for k, v in facts.items() if k != name}))]


def tensor(dtype: Any = "F32", shape: Any = (32, 16, 4), offsets: Any = (0, 8192)) -> dict[str, Any]:
    """The entry of a tensor in a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def batch(**changed: torch.Tensor) -> Pieces:
    """The first batch of an honest client with some tensors changed, left out (None) or added."""
    honest = {"smashed": torch.zeros(32, 16, 4), "place": torch.tensor([0, 0]), "labels": torch.arange(32) % 2}
    tensors = {name: t for name, t in (honest | changed).items() if t is not None}
    return lambda facts: [pack("batch", tensors)]


def bytes_of(*sent: bytes) -> Pieces:
    return lambda facts: list(sent)


def stated(entry: dict[str, Any], body: bytes = b"", name: str = "smashed") -> Pieces:
    """A batch whose header has this entry."""
    return bytes_of(raw("batch", "{}", {name: entry}, body))


NAN, INFINITE = torch.full((32, 16, 4), torch.nan), torch.full((32, 16, 4), torch.inf)
NO_MESSAGE = "bytes that are not a message"

HELLOS: dict[str, Attack] = {
    "facts nested deeply": Attack(hello_text("victim", "[" * 20_000 + "]" * 20_000), "too many levels"),
    "facts nested thirteen levels": Attack(hello_text("victim", '{"a":' * 13 + "1" + "}" * 13), "12 levels deep"),
    "a thousand million records": Attack(hello(records=10**9), "records is 1000000000; legal: whole numbers from 2 to"),
    "fewer than two records": Attack(hello(records=1), "records is 1; legal"),
    "negative records": Attack(hello(records=-5), "records is -5; legal"),
    "a bool for a number": Attack(hello(records=True), "records is True; legal"),
    "text for a number": Attack(hello(records="32"), "records is '32'; legal"),
    "a fraction for a whole number": Attack(hello(records=32.0), "records is 32.0; legal"),
    "NaN in facts": Attack(hello_text("in_range", "[NaN, 1]"), NO_MESSAGE),
    "infinity in facts": Attack(hello_text("in_range", "[0, 1e999]"), "in_range[1] is inf; legal"),
    "a range upside down": Attack(hello(in_range=[1, 0]), "legal: the lower end first"),
    "a range of text": Attack(hello(in_range=["0", "1"]), "in_range[0] is '0'; legal"),
    "a range of bools": Attack(hello(in_range=[False, True]), "in_range[0] is False; legal"),
    "a number of 5000 digits": Attack(hello_text("size", "9" * 5000), NO_MESSAGE),
    "a huge dimension": Attack(hello(in_shape=[10**12]), "in_shape[0] is 1000000000000; legal"),
    "dimensions huge together": Attack(hello(in_shape=[4096, 4096, 4096]), "legal: at most 16777216"),
    "a network that is too large": Attack(hello(in_shape=[1, 2**24]), "(serve --memory MB)"),
    "too many classes": Attack(hello(size=2**30), "size is 1073741824; legal"),
    "an unknown task": Attack(hello(kind="\x1b[2J"), r"kind is '\x1b[2J'; legal: classes, mask, value"),
    "a missing value": Attack(without("records"), "has no value 'records'; legal"),
    "an unknown value": Attack(hello(colour=1), "has an unknown value 'colour'; legal"),
    "a name of 50 kB": Attack(hello(objective="x" * 50_000), "text of length 50000; legal"),
    "control characters in a name": Attack(hello(sources={"\x1b]0;x\x07": "a"}), r"\x1b]0;x\x07"),
    "a version with control characters": Attack(hello(version="\x1b[31m"), r"splitleak \x1b[31m, the server has"),
    "a lone surrogate": Attack(hello_text("version", r'"\ud800"'), r"splitleak \ud800"),
    "a victim of another type": Attack(hello(victim=[1]), "victim is [1]; legal"),
    "too many sources": Attack(hello(sources={str(i): "" for i in range(1000)}), "a dict of length 1000; legal"),
    "another client's number": Attack(hello(client=7), "says that it is client 7; its certificate is of client"),
    "a negative number": Attack(hello(client=-1), "client is -1; legal"),
    "a key twice": Attack(hello_text("epochs", '{}, "epochs": {}'), NO_MESSAGE),
    "a header of 2**62 bytes": Attack(bytes_of((2**62).to_bytes(8, "little") + b"{}"), NO_MESSAGE),
    "a header of 200 kB": Attack(bytes_of(raw("hello", "x" * 200_000)), NO_MESSAGE),
    "a piece of 2 MB": Attack(bytes_of(bytes(2 * 10**6)), "bytes in one piece; legal: at most 1048576"),
    "a piece of 10 MB": Attack(bytes_of(raw("x" * 10**7, "{}")), "a hello within 15 s, in pieces of at most 1048576"),
    "a hello with a tensor of 1 GB": Attack(
        lambda facts: [raw("hello", json.dumps(facts), {"a": tensor(shape=[2**28], offsets=[0, 2**30])})],
        "has 10737",
    ),
    "a body before the seat": Attack(stated(tensor(shape=[2**18], offsets=[0, 2**20])), "expected 'hello'"),
    "a hello with a small tensor": Attack(
        lambda facts: [raw("hello", json.dumps(facts), {"a": tensor("U8", [1], [0, 1])}, b"1")], "unknown tensor 'a'"
    ),
    "nothing in the message": Attack(bytes_of(b""), NO_MESSAGE),
    "a pickle": Attack(bytes_of(b"\x80\x04\x95garbage....."), NO_MESSAGE),
    "facts that are a list": Attack(bytes_of(raw("hello", "[]")), NO_MESSAGE),
    "an unknown kind": Attack(bytes_of(raw("shutdown", "{}")), "message 'shutdown', which no client sends"),
    "a kind with control characters": Attack(bytes_of(raw("\x1b[2J\n", "{}")), r"message '\x1b[2J\n', which no"),
    "a server's kind": Attack(bytes_of(pack("heartbeat")), "message 'heartbeat', which no client sends"),
    "a batch before the hello": Attack(batch(), "sent message 'batch', expected 'hello'"),
    "an error before the hello": Attack(bytes_of(pack("error", why="x")), "sent message 'error', expected 'hello'"),
}  # fmt: skip

SEATED: dict[str, Attack] = {
    name: Attack(pieces, wanted, seated=True)
    for name, (pieces, wanted) in {
        "NaN in a tensor": (batch(smashed=NAN), "'smashed' contains NaN"),
        "infinity in a tensor": (batch(smashed=INFINITE), "'smashed' contains infinite values"),
        "another shape": (batch(smashed=torch.zeros(32, 4, 16)), "'smashed' has shape (32, 4, 16), it must have"),
        "another dtype": (batch(smashed=torch.zeros(32, 16, 4).int()), "'smashed' has dtype torch.int32, it must"),
        "labels of another dtype": (batch(labels=torch.zeros(32, dtype=torch.int32)), "'labels' must be classes"),
        "negative labels": (batch(labels=torch.full((32,), -1)), "'labels' must be classes from 0 to 1"),
        "soft labels that are whole": (batch(labels=torch.zeros(32, 2, dtype=torch.bool)), "'labels' has dtype"),
        "soft labels of another dtype": (batch(labels=torch.full((32, 2), 0.5).double()), "'labels' has dtype torch.f"),
        "another place": (batch(place=torch.tensor([0, 1])), "sent batch (0, 1), expected (0, 0)"),
        "a place as a fraction": (batch(place=torch.tensor([0.0, 0.0])), "'place' has dtype torch.float32"),
        "no tensor": (batch(smashed=None), "message 'batch' has no 'smashed'"),
        "no labels": (batch(labels=None), "message 'batch' has no 'labels'"),
        "one tensor more": (batch(more=torch.zeros(1)), "has an unknown tensor 'more'; legal: smashed, place, labels"),
        "no elements": (batch(smashed=torch.zeros(0, 16, 4)), "'smashed' has shape (0, 16, 4)"),
        "fewer elements than the shape": (stated(tensor(offsets=[0, 4096]), bytes(4096)), NO_MESSAGE),
        "a negative offset": (stated(tensor(offsets=[-8192, 0]), bytes(8192)), NO_MESSAGE),
        "a negative dimension": (stated(tensor(shape=[-32, -16, 4]), bytes(8192)), NO_MESSAGE),
        "a bool as a dimension": (stated(tensor(shape=[True, 2048]), bytes(8192)), NO_MESSAGE),
        "a dimension of 2**60": (stated(tensor(shape=[2**60, 0], offsets=[0, 0])), NO_MESSAGE),
        "an unknown dtype": (stated(tensor("F128"), bytes(8192)), NO_MESSAGE),
        "a dtype that is a list": (stated(tensor([]), bytes(8192)), NO_MESSAGE),
        "a header cut off": (bytes_of(pack("batch", {"smashed": NAN})[:40]), NO_MESSAGE),
        "a body cut off": (lambda facts: [batch()(facts)[0][:-9]], NO_MESSAGE),
        "a body that is too long": (lambda facts: [batch()(facts)[0] + b"!"], NO_MESSAGE),
        "a batch of 1 GB": (stated(tensor(shape=[2**28], offsets=[0, 2**30])), "message 'batch' has 10737"),
        "a batch out of turn": (bytes_of(pack("query", {"smashed": NAN})), "sent message 'query', expected 'batch'"),
        "a second hello": (hello(), "sent message 'hello', expected 'batch'"),
        "weights of one client": (bytes_of(pack("weights", {"sealed": NAN})), "sent message 'weights', expected"),
        "a value in a batch": (bytes_of(pack("batch", {"smashed": NAN}, epoch=1)), "has an unknown value 'epoch'"),
        "a restart": (bytes_of(pack("restart", why="x")), "message 'restart', which no client sends"),
        "an endless reason": (bytes_of(pack("detected", why="x" * 5000)), "why is text of length 5000; legal"),
        "an escape in a reason": (bytes_of(pack("error", why="\x1b[2J")), r"why is '\x1b[2J'; legal"),
        "it gives up": (bytes_of(pack("error", why="no reason")), "is excluded (no reason)"),
    }.items()
}  # fmt: skip

ALL = HELLOS | SEATED


class Peer:
    """One stream to the server, with any certificate and any bytes."""

    def __init__(self, address: str, options: list[str]) -> None:
        from splitleak.wire import grpc_streams  # sets how gRPC reports before it is imported

        grpc = grpc_streams.grpc
        cert, key, ca = (Path(options[i]).read_bytes() for i in (1, 3, 5))
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self.channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, key, cert), options=unlimited)
        self.sending: SimpleQueue[bytes | None] = SimpleQueue()
        self.stream = self.channel.stream_stream("/splitleak.Wire/talk")(iter(self.sending.get, None))

    def send(self, *sent: bytes) -> None:
        for one in sent:
            self.sending.put(one)

    def messages(self) -> Iterator[bytes]:
        """What the server sends, until it ends the stream; the reason of its refusal comes last."""
        try:
            yield from self.stream
        except Exception as error:
            yield f"status {getattr(error, 'details', str)()}".encode()

    def seat(self, facts: dict[str, Any], within: float = 30) -> bool:
        """Introduce itself as an honest client does, and wait for the start; False if it is refused."""
        self.send(raw("hello", json.dumps(facts)))
        return any(b'"kind":"start"' in one for one in self._until(within))

    def _until(self, within: float) -> Iterator[bytes]:
        until = time.monotonic() + within
        for one in self.messages():
            yield one
            if b"start" in one or time.monotonic() > until:
                return

    def close(self) -> None:
        self.sending.put(None)
        self.channel.close()


def throw(address: str, options: list[str], facts: dict[str, Any], attack: Attack) -> None:
    """One attack, until the server ends the stream."""
    peer = seated(address, options, facts) if attack.seated else Peer(address, options)
    threading.Timer(10, peer.stream.cancel).start()
    peer.send(*attack.pieces(facts))
    for one in peer.messages():
        sys.stdout.write(f"{one[:300]!r}\n")
    peer.close()


def seated(address: str, options: list[str], facts: dict[str, Any]) -> Peer:
    """A peer whose training has started; the server may not have seen yet that the last peer has gone."""
    for _ in range(100):
        peer = Peer(address, options)
        if peer.seat(facts):
            return peer
        peer.close()
        time.sleep(0.1)
    raise TimeoutError("no seat")
