"""How far an end has come in its training, and what happened on the way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from splitleak.wire.connection import Connection


@dataclass
class Progress:
    """Going back to a saved epoch restores the fields up to `detected_at`; the others describe all attempts."""

    run: str = ""
    epoch: int = 0
    steps: int = 0
    losses: list[float] = field(default_factory=list)  # mean of each epoch, at the end that has the labels
    detected_at: int | None = None  # the step at which a defence detected a hijack
    seconds: float = 0.0
    faults: list[dict[str, Any]] = field(default_factory=list)
    bytes: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)  # client -> up, down -> kind of message
    left_behind: dict[str, int] = field(default_factory=dict)  # lost client -> the epoch from which it takes no part

    def rewind(self, run: str, epoch: int, facts: dict[str, Any] | None) -> None:
        """Go back to the end of a saved epoch, or without facts to the beginning."""
        self.run, self.epoch, self.detected_at = run, epoch, None
        self.steps, self.losses = (facts["steps"], list(facts["losses"])) if facts else (0, [])

    def recall(self, facts: dict[str, Any]) -> None:
        """Take over what happened before this process was killed and started again."""
        for name in ("seconds", "faults", "bytes", "left_behind"):
            setattr(self, name, facts[name])

    def facts(self) -> dict[str, Any]:
        """All fields as plain values."""
        return asdict(self)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the seconds spent inside."""
        self._counted = time.perf_counter()
        try:
            yield
        finally:
            self.count_time()

    def count_time(self) -> None:
        """Inside `timed`: add the seconds since the last count."""
        now = time.perf_counter()
        self.seconds, self._counted = self.seconds + now - self._counted, now

    def count_bytes(self, client: int, connection: Connection, *, at_client: bool) -> None:
        """Add the bytes that a connection has sent and received, and set its counters to zero."""
        total = self.bytes.setdefault(str(client), {"up": {}, "down": {}})
        sent, received = ("up", "down") if at_client else ("down", "up")
        for direction, counter in ((sent, connection.sent), (received, connection.received)):
            total[direction] = dict(Counter(total[direction]) + counter)
            counter.clear()

    def add_fault(self, what: str, **facts: Any) -> None:
        """Note what went wrong; it happened at the present epoch, unless `facts` has another one."""
        self.faults.append({"what": what, "epoch": self.epoch} | facts)

    def leave_behind(self, client: int) -> None:
        """Note that the training continues without this client."""
        self.left_behind[str(client)] = self.epoch
        self.add_fault("left behind", client=client)

    def add_returns(self, clients: Iterable[int], epoch: int) -> None:
        """Note which of these clients were lost and are connected again."""
        last = {fault["client"]: fault["what"] for fault in self.faults if "client" in fault}
        for k in clients:
            if last.get(k) == "lost":
                self.add_fault("came back", client=k, epoch=epoch)
