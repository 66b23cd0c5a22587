"""One end of a stream, at the server and at a client alike: send, receive within a limit, count what crossed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from queue import Empty, SimpleQueue
from typing import Any

from torch import Tensor

from splitleak.contract.errors import BadInput
from splitleak.wire.message import FRAME, Message, Rejected, pack, told_by, unpack

BEAT = 0.5  # seconds of silence after which a server says that it is still there
FREE = ("beat", "bye", "done")  # not counted: when they come hangs on the clock, or after the count is written


class Lost(Exception):
    """The other end is gone, or says nothing: who may come back."""

    def __init__(self, who: str, why: str) -> None:
        super().__init__(f"{who} {why}")
        self.who, self.why = who, why


class Refused(BadInput):
    """The other end says that it does not go on, and why; `later`: it may be worth another try."""

    def __init__(self, why: str, later: bool = False) -> None:
        super().__init__(why)
        self.later = later


class Line:
    """Messages to and from one other end, `who`. What is sent lies in a queue until gRPC fetches it from `outgoing`."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.sent, self.received = Counter[str](), Counter[str]()  # bytes by kind of message
        self.over = threading.Event()  # the connection has ended
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._due: float | None = None
        self._late = False

    def send(self, kind: str, tensors: Mapping[str, Tensor] | None = None, /, **facts: Any) -> None:
        raw = pack(kind, tensors, **facts)
        if kind not in FREE:
            self.sent[kind] += len(raw) + FRAME
        self._queue.put(raw)

    def receive(self, *kinds: str, within: float) -> Message:
        """The next message, which must be of one of these kinds.

        Lost: none came `within` seconds, or the stream is over. Refused: the other end gives up. Rejected: another
        kind, or no message at all.
        """
        while True:
            raw = self._next(within)
            with told_by(self.who):
                message = unpack(raw)
            if message.kind not in FREE:
                self.received[message.kind] += len(raw) + FRAME
            if message.kind == "error":
                raise Refused(str(message.facts.get("why")), later=bool(message.facts.get("later")))
            if message.kind == "again":
                raise Lost("the server", str(message.facts.get("why")))
            if message.kind in kinds:
                return message
            if message.kind != "beat":
                raise Rejected(f"{self.who}: message '{message.kind}', expected '{kinds[0]}'")

    def _next(self, within: float) -> bytes:
        self._due = time.monotonic() + within
        try:
            return next(self._incoming)
        except Exception as error:
            closed = isinstance(error, StopIteration)
            if not closed and not is_grpc(error):
                raise
            why = "closed the connection" if closed else "is gone (the connection broke)"
            raise Lost(self.who, f"said nothing for {within:g} s" if self._late else why) from None
        finally:
            self._due = None

    def outgoing(self, beat: bool = False) -> Iterator[bytes]:
        """What gRPC fetches and sends, until `close`."""
        while True:
            try:
                raw = self._queue.get(timeout=BEAT)
            except Empty:
                if self.gone:
                    return
                if beat:
                    yield pack("beat")
                continue
            if raw is None:
                return
            yield raw

    def attach(self, incoming: Iterator[bytes], cancel: Callable[[], object]) -> None:
        """Where messages come from, and what ends the stream: a thread does so if one is overdue."""
        self._incoming, self._cancel = incoming, cancel
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self.over.wait(BEAT / 2):
            due = self._due
            if due is not None and time.monotonic() > due:
                self._late = True
                self._cancel()
                return

    @property
    def gone(self) -> bool:
        return self.over.is_set()

    def end(self) -> None:
        """The connection has ended: told by gRPC, from a thread of its own."""
        self.over.set()

    def close(self) -> None:
        """Nothing more is sent after what lies in the queue."""
        self._queue.put(None)


def is_grpc(error: Exception) -> bool:
    import grpc

    return isinstance(error, grpc.RpcError)
