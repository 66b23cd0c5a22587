"""One end of a stream, the same at server and client: send, receive with a time limit, count the bytes."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from queue import Empty, SimpleQueue
from typing import Any

from torch import Tensor

from splitleak.contract.errors import BadInput
from splitleak.printable import in_a_line
from splitleak.wire.header import read_header
from splitleak.wire.invalid_message import InvalidMessage, naming_sender
from splitleak.wire.kinds import ANYTIME, WHY, Sender, check_kind
from splitleak.wire.memory import Memory
from splitleak.wire.message import PIECE, Message, counted, pack, pieces, unpack

HEARTBEAT = 0.5  # seconds of silence after which a server sends a heartbeat
SLOWEST = 2**16  # bytes a second of a large message; a slower one is given up
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
    """Messages to and from the other end, `peer`. Sent messages wait in a queue until gRPC fetches them.

    The other end is a `sender` of client's or server's messages. wait: seconds that a message may take to arrive.
    limits: the most bytes of each large kind that it may send at present.
    """

    def __init__(self, peer: str, sender: Sender, wait: float, memory: Memory | None = None) -> None:
        self.peer, self.sender, self.wait = peer, sender, wait
        self.memory = memory or Memory(sys.maxsize)
        self.limits: dict[str, int] = {}
        self.anytime: tuple[str, ...] = ANYTIME[sender]
        self.sent, self.received = Counter[str](), Counter[str]()  # kind of message -> bytes
        self.ended = threading.Event()
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._deadline: float | None = None
        self._end_by: float | None = None
        self._late = False

    def attach(self, incoming: Iterator[bytes], cancel: Callable[[], object]) -> None:
        """Where messages come from, and how to end the stream: a thread does so if a message is too late."""
        self._incoming, self._cancel = incoming, cancel
        threading.Thread(target=self._watch_deadline, daemon=True).start()

    def send(self, kind: str, tensors: Mapping[str, Tensor] | None = None, /, **facts: Any) -> None:
        """Queue a message. ConnectionLost: the other end does not read those that wait for it."""
        if "why" in facts:
            facts["why"] = in_a_line(facts["why"], WHY)
        if not self._put(kind, pack(kind, tensors, **facts), self.wait):
            raise ConnectionLost(self.peer, f"read nothing for {self.wait:g} s")

    def _put(self, kind: str, raw: bytes, wait: float) -> bool:
        """Queue a message as bytes; False if there is no memory for it in time."""
        if not self.memory.hold(self, len(raw), wait):
            return False
        if kind not in UNCOUNTED:
            self.sent[kind] += counted(len(raw))
        self._queue.put(raw)
        if self.ended.is_set():  # nobody fetches what is queued
            self.memory.forget(self)
        return True

    def receive(self, *kinds: str, wait: float | None = None) -> Message:
        """The next message, which must be of one of these kinds.

        ConnectionLost: no message in time, the stream has ended, or the server restarts the training. PeerError: the
        other end gives up. InvalidMessage: another kind, values or tensors that are not legal, or no message at all.
        """
        while True:
            with naming_sender(self.peer):
                message, size = self._read((*kinds, *self.anytime), self.wait if wait is None else wait)
            if message.kind not in UNCOUNTED:
                self.received[message.kind] += counted(size)
            if message.kind == "error":
                raise PeerError(message.facts["why"], self.peer, retry=False)
            if message.kind == "restart":
                raise ConnectionLost(self.peer, message.facts["why"])
            if message.kind != "heartbeat":
                return message

    def _read(self, kinds: tuple[str, ...], wait: float) -> tuple[Message, int]:
        """The next message and its bytes; its header is checked before memory is taken for the rest."""
        first = self._next(wait)
        header = read_header(first)
        check_kind(header, self.sender, kinds, self.limits)
        if header.total <= PIECE:
            return unpack(first, header), len(first)
        with self.memory.holding(("received", self), header.total, self.wait) as enough:
            if not enough:
                raise ConnectionLost(self.peer, f"sent {header.total} bytes, more than there is memory for")
            raw, until = bytearray(), time.monotonic() + wait + header.total / SLOWEST
            while True:
                if len(first) != min(PIECE, header.total - len(raw)):
                    raise InvalidMessage(f"sent {len(raw) + len(first)} bytes that are not a message")
                raw += first
                if len(raw) == header.total:
                    return unpack(raw, header), len(raw)
                first = self._next(until - time.monotonic())

    def _next(self, wait: float) -> bytes:
        self._deadline = time.monotonic() + wait
        try:
            raw = next(self._incoming)
        except Exception as error:
            closed = isinstance(error, StopIteration)
            if not closed and not _is_grpc_error(error):
                raise
            _raise_refusal(error, self.peer)
            why = "closed the connection" if closed else "is gone (the connection broke)"
            raise ConnectionLost(self.peer, f"sent nothing for {wait:g} s" if self._late else why) from None
        finally:
            self._deadline = None
        if len(raw) > PIECE:
            raise InvalidMessage(f"sent {len(raw)} bytes in one piece; legal: at most {PIECE}")
        return raw

    def _watch_deadline(self) -> None:
        while not self.ended.wait(HEARTBEAT / 2):
            now, deadline, end_by = time.monotonic(), self._deadline, self._end_by
            if (deadline is not None and now > deadline) or (end_by is not None and now > end_by):
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
            yield from pieces(raw)
            self.memory.release(self, len(raw))

    def end(self) -> None:
        """Note that the connection has ended; gRPC calls this from a thread of its own."""
        self.ended.set()
        self.memory.forget(self)

    def close(self, kind: str | None = None, **facts: str) -> None:
        """Send a last message, if there is room for it, and nothing more; end the stream if that takes too long."""
        if kind is not None:
            self._put(kind, pack(kind, **{name: in_a_line(fact, WHY) for name, fact in facts.items()}), 0)
        self._end_by = time.monotonic() + self.wait
        self._queue.put(None)


def _is_grpc_error(error: Exception) -> bool:
    import grpc  # late: `grpc_streams` sets an environment variable before grpc is first imported

    return isinstance(error, grpc.RpcError)


def _raise_refusal(error: Any, peer: str) -> None:
    """PeerError if the server has refused this client, with the server's reason."""
    import grpc

    code = error.code() if hasattr(error, "code") else None
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.ABORTED):
        raise PeerError(in_a_line(str(error.details()), WHY), peer, retry=code == grpc.StatusCode.ABORTED) from None
