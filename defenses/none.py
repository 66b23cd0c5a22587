"""No defence: smashed data or updates are sent unchanged; the baseline of every other defence."""

from __future__ import annotations

from dataclasses import dataclass

from splitleak.contract import Defense


@dataclass(frozen=True)
class NoDefense(Defense):
    """Sends the smashed data, or the update, unchanged."""

    protocols = ("central", "vanilla", "u_shape", "inference", "fedavg")
