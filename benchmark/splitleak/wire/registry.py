"""The clients that are connected to the server: each introduces itself, and is registered or refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from splitleak.contract.errors import BadInput
from splitleak.wire.agreement import Hello
from splitleak.wire.connection import Connection, ConnectionLost, PeerError
from splitleak.wire.end import EndSettings
from splitleak.wire.message import pack

HELLO_SECONDS = 15  # within which a client must send its hello


class NumberInUse(BadInput):
    """A client with this number is connected; perhaps the same client, whose end the server has not noticed yet."""


@dataclass(frozen=True)
class ConnectedClient:
    """A registered client."""

    connection: Connection
    hello: Hello


ByNumber = dict[int, ConnectedClient]


class ClientRegistry:
    """gRPC calls `handle` in one thread for each connection; the training uses the registered clients."""

    def __init__(self, objection: Callable[[Hello], str | None], settings: EndSettings) -> None:
        self.objection, self.settings = objection, settings  # objection: why a client cannot take part, or None
        self.clients: ByNumber = {}
        self.changed = threading.Condition()

    def handle(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """One connection, from its hello to its end; yields what the server sends."""
        connection = Connection(f"the client at {context.peer()}", self.settings.wait)
        context.add_callback(partial(self._remove, connection))
        connection.attach(requests, context.cancel)
        try:
            self._register(connection, Hello.read(connection.receive("hello", wait=HELLO_SECONDS).facts))
        except (ConnectionLost, PeerError):
            return
        except BadInput as error:
            why = str(error) if connection.peer in str(error) else f"{connection.peer}: {error}"
            self.settings.say(f"refused: {why}")
            yield pack("error", why=why, retry=isinstance(error, NumberInUse))
            return
        yield from connection.outgoing(heartbeat=True)

    def _register(self, connection: Connection, hello: Hello) -> None:
        connection.peer = f"client {hello.client}"
        why = self.objection(hello)
        if why is not None:
            raise BadInput(why)
        with self.changed:
            if hello.client in self.clients:
                raise NumberInUse("a client with this number is already connected")
            others = [client.hello.form for client in self.clients.values()]
            if others and others[0] != hello.form:
                raise BadInput(f"its records are {hello.form}, those of the other clients are {others[0]}")
            self.clients[hello.client] = ConnectedClient(connection, hello)
            self.changed.notify_all()
        self.settings.say(f"{connection.peer} connected, with {hello.records} records")

    def _remove(self, connection: Connection) -> None:
        connection.end()
        with self.changed:
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
            for client in self.clients.values():
                client.connection.send(kind, **facts)
                client.connection.close()
            self.clients = {}
