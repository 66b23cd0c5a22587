"""Text from outside as a message or a terminal may show it: control characters escaped, long values cut."""

from __future__ import annotations

LONGEST = 100  # characters of a quoted value
LONGEST_LINE = 300  # of an exception, or of any text that a plug-in or a peer has sent


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with each character that a terminal may act on as `\x1b`; with `lines`, line breaks stay."""
    if lines:
        return "\n".join(map(printable, text.split("\n")))
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def in_a_line(text: str, most: int = LONGEST_LINE) -> str:
    """The text as one line of at most `most` characters; a longer one ends in "…"."""
    line = printable(text[: most + 1])  # however long it is, no more is looked at
    return line if len(line) <= most else f"{line[: most - 1]}…"


def shown(value: object, most: int = LONGEST) -> str:
    """A value as a message quotes it: on one line, and cut to `most` characters."""
    try:
        text = printable(repr(value))
    except Exception:  # a `repr` of the user's own, a number of too many digits, a list that is too deep
        text = f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 2]}…{text[-1]}"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
