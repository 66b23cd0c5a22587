"""The server's door: who has the right papers says what it holds, and gets a seat or hears why not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from splitleak.contract.errors import BadInput
from splitleak.wire.agree import Hello, heard
from splitleak.wire.line import Line, Lost, Refused
from splitleak.wire.message import pack

HELLO = 15  # seconds within which a client says who it is


@dataclass(frozen=True)
class Seat:
    """A client that is here."""

    line: Line
    hello: Hello


class Door:
    """gRPC calls `talk` in a thread for each connection; the seats are what the training then works with."""

    def __init__(self, objection: Callable[[Hello], str | None], say: Callable[[str], None]) -> None:
        self.objection, self.say = objection, say
        self.seats: dict[int, Seat] = {}
        self.changed = threading.Condition()

    def talk(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """One connection, from its hello to its end: yields what the server sends."""
        line = Line(f"somebody at {context.peer()}")
        context.add_callback(partial(self._leave, line))
        line.attach(requests, context.cancel)
        try:
            self._sit(line, heard(line.receive("hello", within=HELLO).facts))
        except (Lost, Refused):
            return
        except BadInput as error:
            later = isinstance(error, Taken)
            why = str(error) if line.who in str(error) else f"{line.who}: {error}"
            self.say(f"refused: {why}")
            yield pack("error", why=why, later=later)
            return
        yield from line.outgoing(beat=True)

    def _sit(self, line: Line, hello: Hello) -> None:
        line.who = f"client {hello.client}"
        why = self.objection(hello)
        if why is not None:
            raise BadInput(why)
        with self.changed:
            if hello.client in self.seats:
                raise Taken("is here already")
            others = [seat.hello.form for seat in self.seats.values()]
            if others and others[0] != hello.form:
                raise BadInput(f"records of {hello.form}, the others have {others[0]}")
            self.seats[hello.client] = Seat(line, hello)
            self.changed.notify_all()
        self.say(f"{line.who} is here, with {hello.records} records")

    def _leave(self, line: Line) -> None:
        line.end()
        with self.changed:
            for number, seat in list(self.seats.items()):
                if seat.line is line:
                    del self.seats[number]
            self.changed.notify_all()

    def clear(self, kind: str, **facts: Any) -> None:
        """A last message to everybody who is here; all seats are free then."""
        with self.changed:
            for seat in self.seats.values():
                seat.line.send(kind, **facts)
                seat.line.close()
            self.seats.clear()


class Taken(BadInput):
    """There is a client of this number already: perhaps the same one, whose end has not been noticed yet."""
