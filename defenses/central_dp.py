"""Each client clips its update, the server adds Gaussian noise to the mean: the model tells of no single client.

McMahan, Ramage, Talwar and Zhang, "Learning Differentially Private Recurrent Language Models", ICLR 2018; Flower's
wrapper with fixed clipping at the client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from splitleak.contract import Defense, Privacy

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class CentralDP(Defense):
    """Mean of updates of norm at most max_norm, + N(0, (noise_multiplier * max_norm / clients)^2).

    All clients weigh the same. epsilon is a client's, towards those who see the model: the server itself sees the
    updates before there is any noise, so from `fed_server` this hides nothing but their length.
    """

    protocols = ("fedavg",)
    noise_multiplier: Positive = 1.0
    max_norm: Positive = 1.0
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5

    def strategy(self, base: Any, clients: int) -> Any:
        from flwr.serverapp.strategy import DifferentialPrivacyClientSideFixedClipping

        base.weighted_by_key = "alike"
        return DifferentialPrivacyClientSideFixedClipping(base, self.noise_multiplier, self.max_norm, clients)

    def mods(self) -> list[Any]:
        from flwr.clientapp.mod import fixedclipping_mod

        return [fixedclipping_mod]

    def privacy(self, releases: int, batches: int = 1) -> Privacy:
        """Of all rounds, and of one; no chance of being left out is counted on."""
        return Privacy(self.epsilon(releases), self.delta, self.epsilon(1))

    def epsilon(self, rounds: int) -> float:
        from opacus.accountants import RDPAccountant

        accountant = RDPAccountant()
        accountant.history = [(self.noise_multiplier, 1.0, rounds)]
        return float(accountant.get_epsilon(self.delta)) if rounds else 0.0
