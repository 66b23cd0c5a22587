"""The kinds of messages: who sends them, with which values and tensors, and how large they may be.

What may come when: before a client has its seat only `hello`; after that whatever the training waits for, and at any
time the kinds in ANYTIME. A message is SMALL unless its kind is large. How large a large one may be follows from the
network, and the connection knows it only from the start of the training on.

    kind               sender  content
    hello              client  version, victim, form and number of its records, saved epochs
    start              server  the epoch to start from, the run, the number of records of each client
    batch              client  smashed batch, its place (epoch, index), and under `vanilla` the labels
    features           server  under `u_shape`: output of the top
    gradient_features  client  under `u_shape`: gradient of the features
    gradient           server  gradient of the smashed batch
    turn               server  clients in turn: this client may train; encrypted weights of the client before
    weights            both    several clients: encrypted weights of a client; the server relays them
    detected           client  its defence has detected a hijack
    evaluate           server  training has ended
    query              client  smashed test records
    prediction         server  output of the top for a query
    evaluated          client  it has measured its utility and written its record
    done               server  all ends have finished
    restart            server  a client was lost: connect again and go back to the last common epoch
    error              both    the sender gives up, and why
    heartbeat          server  the server is still there
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from splitleak.printable import shown
from splitleak.wire.facts import Fact, ListOf, Number, OneOf, SameVersion, Table, Text, Tree, Whole, check_facts
from splitleak.wire.header import Header
from splitleak.wire.invalid_message import InvalidMessage

SMALL = 2**16  # bytes of a message that carries no tensors of the network, and of any header
WHY = 1000  # characters of a reason
RECORDS = 10**8  # of one client
VALUES = 2**24  # of one record
Sender = Literal["client", "server"]

EPOCH, NUMBER = Whole(0, 10**6), Text(7, "0|[1-9][0-9]*", "whole numbers of at most 7 digits")
RUN = Text(32, "[0-9a-f]+", "hexadecimal digits, at most 32")
REASON: dict[str, Fact] = {"why": Text(WHY)}
HELLO: dict[str, Fact] = {
    "version": SameVersion(), "client": Whole(0, 10**6), "victim": Tree(), "sources": Table(Text(500), Text(100), 200),
    "in_shape": ListOf(Whole(1, VALUES), 1, 8, product=VALUES), "in_range": ListOf(Number(1e9), 2, 2),
    "kind": OneOf(("classes", "mask", "value")), "size": Whole(1, 2**16),
    "objective": OneOf(("own", "bce", "dice", "bce_dice")), "records": Whole(2, RECORDS),
    "epochs": Table(NUMBER, RUN, 16),
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """The values of a message, the tensors that it must and may have, and a form for names that depend on clients."""

    facts: dict[str, Fact] = field(default_factory=dict)
    tensors: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    named: str | None = None  # a regular expression

    def check(self, header: Header) -> None:
        """InvalidMessage if a message with this header has other values or other tensors."""
        check_facts(header.kind, header.facts, self.facts)
        for name in self.tensors:
            if name not in header.tensors:
                raise InvalidMessage(f"message '{header.kind}' has no '{name}'")
        for name in header.tensors:
            if name not in (*self.tensors, *self.optional) and not (self.named and re.fullmatch(self.named, name)):
                legal = ", ".join((*self.tensors, *self.optional)) or ("numbers of clients" if self.named else "none")
                raise InvalidMessage(f"message '{header.kind}' has an unknown tensor {shown(name)}; legal: {legal}")


KINDS: dict[Sender, dict[str, Kind]] = {
    "client": {
        "hello": Kind(HELLO),
        "batch": Kind({}, ("smashed", "place"), ("labels",)),
        "gradient_features": Kind({}, ("gradient_features",)),
        "weights": Kind({}, ("sealed",)),
        "detected": Kind(REASON),
        "query": Kind({}, ("smashed",)),
        "evaluated": Kind(),
        "error": Kind(REASON),
    },
    "server": {
        "start": Kind({"epoch": EPOCH, "run": RUN, "records": Table(NUMBER, Whole(2, RECORDS), 2000)}),
        "features": Kind({}, ("features",)),
        "gradient": Kind({}, ("gradient",)),
        "turn": Kind({"epoch": EPOCH}, named=r"[0-9]{1,7}\.[0-9]{1,7}"),
        "weights": Kind({}, named="[0-9]{1,7}"),
        "evaluate": Kind(),
        "prediction": Kind({}, ("prediction",)),
        "done": Kind(),
        "restart": Kind(REASON),
        "error": Kind(REASON),
        "heartbeat": Kind(),
    },
}
ANYTIME: dict[Sender, tuple[str, ...]] = {"client": ("error",), "server": ("error", "restart", "heartbeat")}


def check_kind(header: Header, sender: Sender, legal: tuple[str, ...], limits: dict[str, int]) -> None:
    """InvalidMessage if the sender may not send a message with this header now; limits: bytes of large kinds."""
    if header.kind not in KINDS[sender]:
        raise InvalidMessage(f"sent message {shown(header.kind)}, which no {sender} sends; legal: {_listed(legal)}")
    if header.kind not in legal:
        raise InvalidMessage(f"sent message '{header.kind}', expected {_listed(legal)}")
    most = limits.get(header.kind, SMALL)
    if header.total > most:
        raise InvalidMessage(f"message '{header.kind}' has {header.total} bytes; legal: at most {most}")
    KINDS[sender][header.kind].check(header)


def _listed(kinds: tuple[str, ...]) -> str:
    return " or ".join(f"'{kind}'" for kind in kinds if kind not in ("heartbeat", "restart"))
