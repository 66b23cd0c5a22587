"""The ways in which something stops, each with its own consequence."""

from __future__ import annotations


class BadInput(Exception):
    """The user's mistake, told in one line (who, what is wrong, what is legal); exit status 2."""


class NotAtHand(BadInput):
    """The files of a dataset are not on this machine."""


class NotGranted(AttributeError):
    """An attack reached for something that its threat model does not hand out; its cell fails."""


class BadGuess(Exception):
    """A guess that cannot be scored: wrong type, shape, range or not finite; its cell fails."""


class Detected(Exception):
    """Raised by a defence's `inspect`: the client saw a hijack and stops training at once."""


class Diverged(Exception):
    """The training loss is no longer a finite number; the record says so instead of a score."""
