"""How much memory the server may use for its clients, and how much the messages of each take at the moment."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

MB = 10**6
UNREAD = 4 * MB  # of messages that wait for one client, unless it is a single one


class Memory:
    """Whoever takes memory waits until there is enough of it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit  # bytes
        self.held = Counter[Hashable]()  # connection -> bytes of its messages
        self._changed = threading.Condition()

    def hold(self, owner: Hashable, size: int, wait: float) -> bool:
        """Take memory for a message; False if there is not enough within `wait` seconds."""
        until = time.monotonic() + wait
        with self._changed:
            while not self._has_room(owner, size):
                if not self._changed.wait(max(0, until - time.monotonic())) and time.monotonic() >= until:
                    return False
            self.held[owner] += size
        return True

    def release(self, owner: Hashable, size: int) -> None:
        """Give memory back."""
        with self._changed:
            if owner in self.held:
                self.held[owner] -= size
            self._changed.notify_all()

    def forget(self, owner: Hashable) -> None:
        """Give back all that a connection holds, which has ended."""
        with self._changed:
            self.held.pop(owner, None)
            self._changed.notify_all()

    @contextmanager
    def holding(self, owner: Hashable, size: int, wait: float) -> Iterator[bool]:
        """Memory inside the block; whether there is enough."""
        enough = self.hold(owner, size, wait)
        try:
            yield enough
        finally:
            if enough:
                self.release(owner, size)

    def _has_room(self, owner: Hashable, size: int) -> bool:
        own = self.held[owner]
        return self.held.total() + size <= self.limit and (own <= 0 or own + size <= UNREAD)
