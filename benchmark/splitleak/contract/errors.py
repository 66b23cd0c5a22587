"""The reasons why a run, a cell or a training stops."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable

from splitleak.printable import in_a_line

LONGEST_TRACE = 20_000  # of a traceback; its end is kept


class BadInput(Exception):
    """A mistake of the user. The message is one line: who, what is wrong, what is legal. Exit status 2."""


class FilesMissing(BadInput):
    """The files of a dataset are not on this machine."""


class NotGranted(AttributeError):
    """An attack read something that its threat model does not grant. Its cell fails."""


class BadGuess(Exception):
    """A guess that cannot be scored: wrong type, shape or range, or not finite. Its cell fails."""


class Detected(Exception):
    """A defence's `inspect` raises it when the client detects a hijack; the client then stops training at once."""


class Diverged(Exception):
    """The training loss is no finite number any more. The record says so in place of a score."""


class Raised(Exception):
    """An exception of a plug-in as text, also one of another process: `why` in one line, and the traceback."""

    def __init__(self, why: str, traceback: str = "") -> None:
        super().__init__(why, traceback)
        self.why, self.traceback = why, traceback

    def __str__(self) -> str:
        return self.why

    @classmethod
    def of(cls, error: BaseException) -> Raised:
        """The text of any exception, however odd; of one that is text already, the same."""
        if isinstance(error, Raised):
            return error
        try:
            trace = "".join(traceback.format_exception(error))
        except BaseException as another:
            trace = f"no traceback: {type(another).__name__}"
        first = text_of(error).strip().splitlines() or [""]
        return cls(f"{type(error).__name__}: {in_a_line(first[0])}", trace[-LONGEST_TRACE:])


def text_of(error: BaseException) -> str:
    """`str(error)`, or a word on why there is none."""
    try:
        return str(error)
    except BaseException as another:
        return f"(its text cannot be had: {type(another).__name__})"


def did_you_mean(word: str, legal: Iterable[str]) -> str:
    """`; did you mean 'word'?` if a legal word is close, else nothing."""
    close = difflib.get_close_matches(word, list(legal), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
