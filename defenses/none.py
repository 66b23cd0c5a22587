"""No defence: what the client computed is what it sends, the row that every other is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from splitleak.contract import Defense


@dataclass(frozen=True)
class NoDefense(Defense):
    """Sends the smashed data, or the update, as they are."""

    protocols = ("central", "vanilla", "u_shape", "fedavg")
