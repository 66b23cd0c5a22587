"""The clients that are connected to the server: each introduces itself, and is registered or refused."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from splitleak.contract.errors import BadInput
from splitleak.printable import in_a_line, shown
from splitleak.wire.agreement import Hello
from splitleak.wire.certificate_number import number_of
from splitleak.wire.connection import Connection, ConnectionLost
from splitleak.wire.end import EndSettings
from splitleak.wire.kinds import WHY
from splitleak.wire.memory import Memory
from splitleak.wire.message import PIECE

HELLO_SECONDS = 15  # within which a client must send its hello
STREAMS = 3  # of one certificate at the same time: one that trains, one that the server has not yet seen end, a new one


class NumberInUse(BadInput):
    """A client with this number is connected; perhaps the same client, whose end the server has not noticed yet."""


@dataclass(frozen=True)
class ConnectedClient:
    """A registered client."""

    connection: Connection
    hello: Hello


ByNumber = dict[int, ConnectedClient]


class ClientRegistry:
    """gRPC calls `handle` in one thread for each connection; the training uses the registered clients.

    n: how many clients there are. objection: why a client cannot take part, or None.
    """

    def __init__(self, n: int, objection: Callable[[Hello], str | None], settings: EndSettings, memory: Memory) -> None:
        self.n, self.objection, self.settings, self.memory = n, objection, settings, memory
        self.clients: ByNumber = {}
        self.streams = Counter[int]()  # number of a certificate -> its connections
        self.changed = threading.Condition()

    def handle(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """One connection, from its hello to its end; yields what the server sends."""
        peer = f"the peer at {context.peer()}"
        try:
            number = self._number(context)
            peer = f"client {number}"
            connection = Connection(peer, "client", self.settings.wait, self.memory)
            self._admit(number, connection, requests, context)
        except (ConnectionLost, BadInput) as error:
            self._refuse(context, peer, error)
        except Exception as error:  # whatever a peer has sent, the server lives
            self._refuse(context, peer, BadInput(f"sent what this server cannot read ({type(error).__name__})"))
        yield from connection.outgoing(heartbeat=True)

    def _number(self, context: Any) -> int:
        """The number in the common name of the peer's certificate; BadInput if it is no client's of this training."""
        names = context.auth_context().get("x509_common_name", [])
        name = names[0].decode(errors="replace") if names else ""
        number = number_of(name)
        if number is None:
            raise BadInput(f"its certificate has the common name {shown(name)}; legal: client0 to client{self.n - 1}")
        return number

    def _admit(self, number: int, connection: Connection, requests: Iterator[bytes], context: Any) -> None:
        """Register a connection after its hello. Until then a small message is all that it may send."""
        if number >= self.n:
            raise BadInput(f"there are {self.n} clients, numbered 0 to {self.n - 1}")
        with self.changed:
            if number in self.clients:
                raise NumberInUse("a client with this number is already connected")
            if self.streams[number] >= STREAMS:
                raise NumberInUse(f"its certificate has {STREAMS} connections already, which is the most")
            self.streams[number] += 1
        if not context.add_callback(partial(self._remove, number, connection)):
            self._remove(number, connection)
            raise ConnectionLost(connection.peer, "is gone")
        connection.attach(requests, context.cancel)
        connection.anytime = ()
        hello = self._hello(connection)
        connection.anytime = ("error",)
        if hello.client != number:
            raise BadInput(f"says that it is client {hello.client}; its certificate is of client {number}")
        why = self.objection(hello)
        if why is not None:
            raise BadInput(why)
        self._register(connection, hello)

    def _hello(self, connection: Connection) -> Hello:
        """What a client says first; BadInput if the stream ends before, as gRPC ends it at a far too large piece."""
        try:
            return Hello.of_message(connection.receive("hello", wait=HELLO_SECONDS))
        except ConnectionLost as lost:
            legal = f"legal: a hello within {HELLO_SECONDS} s, in pieces of at most {PIECE} bytes"
            raise BadInput(f"{lost.why} before its hello; {legal}") from None

    def _register(self, connection: Connection, hello: Hello) -> None:
        with self.changed:
            if hello.client in self.clients:
                raise NumberInUse("a client with this number is already connected")
            others = [client.hello.form for client in self.clients.values()]
            if others and others[0] != hello.form:
                raise BadInput(f"its records are {hello.form}, those of the other clients are {others[0]}")
            if connection.ended.is_set():
                raise ConnectionLost(connection.peer, "is gone")
            self.clients[hello.client] = ConnectedClient(connection, hello)
            self.changed.notify_all()
        self.settings.say(f"{connection.peer} connected, with {hello.records} records")

    def _refuse(self, context: Any, peer: str, error: ConnectionLost | BadInput) -> None:
        """End a connection with the reason, in a status that reaches also a peer that reads no messages."""
        import grpc  # late: `grpc_streams` sets an environment variable before grpc is first imported

        why = str(error) if str(error).startswith(peer) else f"{peer}: {error}"
        why = in_a_line(why, WHY)
        self.settings.say(f"refused: {why}")
        code = grpc.StatusCode.ABORTED if isinstance(error, NumberInUse) else grpc.StatusCode.PERMISSION_DENIED
        context.abort(code, why)

    def _remove(self, number: int, connection: Connection) -> None:
        connection.end()
        with self.changed:
            self.streams[number] -= 1
            self.clients = {k: client for k, client in self.clients.items() if client.connection is not connection}
            self.changed.notify_all()

    def wait_for(self, expected: set[int], until: float) -> ByNumber:
        """The connected clients, as soon as they are the expected ones, at the latest at `until` (monotonic clock)."""
        with self.changed:
            while self.clients.keys() != expected and time.monotonic() <= until:
                self.changed.wait(0.2)
            return {k: self.clients[k] for k in sorted(self.clients)}

    def dismiss(self, kind: str, **facts: Any) -> None:
        """Send all clients a last message and remove them."""
        with self.changed:
            clients, self.clients = self.clients, {}
        for client in clients.values():
            client.connection.close(kind, **facts)
