"""One HTML page of an audit, in three blocks that no single colour sums up: measured, declared, combined.

The page holds no script and asks for nothing, so that it can be read from a file, without a network. All text of the
user's is escaped.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from splitleak.printable import printable
from splitleak.report import text

GOALS = {
    "inputs": "records", "labels": "labels", "membership": "membership", "property": "property", "linkage": "linkage",
}  # fmt: skip


CROSSING = {
    "inference": "messages, and nothing else", "vanilla": "messages, labels and gradients",
    "u_shape": "messages, features and the gradients of both; labels stay at the client",
}  # fmt: skip


def page(found: dict[str, Any]) -> str:
    """The page of what audit.json holds."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "short": _short,
        "percent": _percent,
        "clip": _clip,
        "plain": lambda t: printable(str(t)),
        "capitalized": _capitalized,
    }
    template = (resources.files("splitleak.auditing") / "page.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(**found, goals=GOALS, crossing=CROSSING)


def _short(value: float | None) -> str:
    return text.short_number(value) or "–"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _capitalized(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _clip(value: float | None) -> str:
    """A share as the width of a bar."""
    return f"{100 * min(max(value or 0.0, 0.0), 1.0):.1f}%"
