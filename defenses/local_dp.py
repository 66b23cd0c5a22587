"""Local DP (Dwork & Roth 2014): each client clips its update and adds noise before it sends.

The server sees only the noisy updates.

Source: Dwork and Roth, "The Algorithmic Foundations of Differential Privacy", 2014, appendix A; Flower's `LocalDpMod`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from splitleak.contract import Defense, Exposure, Privacy

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class LocalDP(Defense):
    """An update of norm at most max_norm, + N(0, s^2), s = 2 max_norm sqrt(2 ln(1.25 / delta)) / epsilon_round.

    epsilon is for a whole client (neighbours: another update in place of its own, replace), so copies of its records
    change nothing. Two updates of one client differ by at most twice the norm. The formula holds for epsilon_round up
    to 1; above it, read the accountant's figure, which is in the record.
    """

    protocols = ("fedavg",)
    epsilon_round: Positive = 1.0
    max_norm: Positive = 1.0
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5

    def mods(self) -> list[Any]:
        from flwr.clientapp.mod import LocalDpMod

        return [LocalDpMod(self.max_norm, 2 * self.max_norm, self.epsilon_round, self.delta)]

    def privacy(self, exposure: Exposure) -> Privacy:
        """Of a client's updates of all rounds, and of one round, by the accountant."""
        return Privacy(self._epsilon(exposure.steps), self.delta, self._epsilon(1), "client", "replace")

    def _epsilon(self, rounds: int) -> float:
        from math import log, sqrt

        from opacus.accountants import RDPAccountant

        accountant = RDPAccountant()
        accountant.history = [(sqrt(2 * log(1.25 / self.delta)) / self.epsilon_round, 1.0, rounds)]
        return float(accountant.get_epsilon(self.delta)) if rounds else 0.0
