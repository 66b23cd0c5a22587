"""The reasons why a run, a cell or a training stops."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def did_you_mean(word: str, legal: Iterable[str]) -> str:
    """`; did you mean 'word'?` if a legal word is close, else nothing."""
    close = difflib.get_close_matches(word, list(legal), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
