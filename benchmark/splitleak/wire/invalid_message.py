"""The error for a message that breaks the rules, with the name of its sender."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from splitleak.contract.errors import BadInput


class InvalidMessage(BadInput):
    """A message that an honest end of the same version cannot send; `sender` is empty until somebody names it."""

    def __init__(self, why: str, sender: str = "") -> None:
        super().__init__(f"{sender}: {why}" if sender else why)
        self.sender = sender


@contextmanager
def naming_sender(sender: str) -> Iterator[None]:
    """Give an InvalidMessage from inside the name of its sender."""
    try:
        yield
    except InvalidMessage as error:
        if error.sender:
            raise
        raise InvalidMessage(str(error), sender) from None
