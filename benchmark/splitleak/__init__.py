"""How much private data leaks when a neural network is split, and what each defence costs.

records = splitleak.run("quick")        # a path, the name of a matrix that ships, or a dict of the same form
table = splitleak.leaderboard(records)  # a pandas table
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "leaderboard", "run"]

if TYPE_CHECKING:
    from splitleak.api import leaderboard, run


def __getattr__(name: str) -> Any:
    """Nothing heavy is imported before it is used: `splitleak --help` needs no torch."""
    if name in ("leaderboard", "run"):
        from splitleak import api

        return getattr(api, name)
    raise AttributeError(f"module 'splitleak' has no attribute '{name}'")
