"""One end of a stream, the same at server and client: send, receive with a time limit, count the bytes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from queue import Empty, SimpleQueue
from typing import Any

from torch import Tensor

from splitleak.contract.errors import BadInput
from splitleak.wire.invalid_message import InvalidMessage, naming_sender
from splitleak.wire.message import FRAME, Message, pack, unpack

HEARTBEAT = 0.5  # seconds of silence after which a server sends a heartbeat
UNCOUNTED = ("heartbeat", "evaluated", "done")  # their number depends on the clock, or they come after the record


class ConnectionLost(Exception):
    """The other end is gone or silent; it may come back."""

    def __init__(self, peer: str, why: str) -> None:
        super().__init__(f"{peer} {why}")
        self.peer, self.why = peer, why


class PeerError(BadInput):
    """The other end gives up and says why; `retry`: another attempt may succeed."""

    def __init__(self, why: str, peer: str, retry: bool) -> None:
        super().__init__(why)
        self.peer, self.retry = peer, retry


class Connection:
    """Messages to and from the other end, `peer`. Sent messages wait in a queue until gRPC fetches them."""

    def __init__(self, peer: str, wait: float) -> None:
        self.peer, self.wait = peer, wait  # wait: seconds that a message may take to arrive
        self.sent, self.received = Counter[str](), Counter[str]()  # kind of message -> bytes
        self.ended = threading.Event()
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._deadline: float | None = None
        self._late = False

    def attach(self, incoming: Iterator[bytes], cancel: Callable[[], object]) -> None:
        """Where messages come from, and how to end the stream: a thread does so if a message is too late."""
        self._incoming, self._cancel = incoming, cancel
        threading.Thread(target=self._watch_deadline, daemon=True).start()

    def send(self, kind: str, tensors: Mapping[str, Tensor] | None = None, /, **facts: Any) -> None:
        """Queue a message."""
        raw = pack(kind, tensors, **facts)
        if kind not in UNCOUNTED:
            self.sent[kind] += len(raw) + FRAME
        self._queue.put(raw)

    def receive(self, *kinds: str, wait: float | None = None) -> Message:
        """The next message, which must be of one of these kinds.

        ConnectionLost: no message in time, the stream has ended, or the server restarts the training. PeerError: the
        other end gives up. InvalidMessage: another kind, or bytes that are not a message.
        """
        while True:
            raw = self._next(self.wait if wait is None else wait)
            with naming_sender(self.peer):
                message = unpack(raw)
            if message.kind not in UNCOUNTED:
                self.received[message.kind] += len(raw) + FRAME
            why = str(message.facts.get("why"))
            if message.kind == "error":
                raise PeerError(why, self.peer, retry=bool(message.facts.get("retry")))
            if message.kind == "restart":
                raise ConnectionLost(self.peer, why)
            if message.kind in kinds:
                return message
            if message.kind != "heartbeat":
                raise InvalidMessage(f"sent message '{message.kind}', expected '{kinds[0]}'", self.peer)

    def _next(self, wait: float) -> bytes:
        self._deadline = time.monotonic() + wait
        try:
            return next(self._incoming)
        except Exception as error:
            closed = isinstance(error, StopIteration)
            if not closed and not _is_grpc_error(error):
                raise
            why = "closed the connection" if closed else "is gone (the connection broke)"
            raise ConnectionLost(self.peer, f"sent nothing for {wait:g} s" if self._late else why) from None
        finally:
            self._deadline = None

    def _watch_deadline(self) -> None:
        while not self.ended.wait(HEARTBEAT / 2):
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                self._late = True
                self._cancel()
                return

    def outgoing(self, heartbeat: bool = False) -> Iterator[bytes]:
        """The messages that gRPC fetches and sends, until `close` or the end of the connection."""
        while True:
            try:
                raw = self._queue.get(timeout=HEARTBEAT)
            except Empty:
                if self.ended.is_set():
                    return
                if heartbeat:
                    yield pack("heartbeat")
                continue
            if raw is None:
                return
            yield raw

    def end(self) -> None:
        """Note that the connection has ended; gRPC calls this from a thread of its own."""
        self.ended.set()

    def close(self) -> None:
        """Send nothing more after the messages in the queue."""
        self._queue.put(None)


def _is_grpc_error(error: Exception) -> bool:
    import grpc  # late: `grpc_streams` sets an environment variable before grpc is first imported

    return isinstance(error, grpc.RpcError)
