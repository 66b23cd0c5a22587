"""Central DP (McMahan et al. 2018): clip each client's update, add noise to the server's mean.

Each client clips its update to a fixed norm and the server adds Gaussian noise to the mean, so that the model says
little about any single client.

Source: McMahan, Ramage, Talwar and Zhang, "Learning Differentially Private Recurrent Language Models", ICLR 2018.
The code is Flower's wrapper with fixed clipping at the client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from splitleak.contract import Defense, Exposure, Privacy

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class CentralDP(Defense):
    """Mean of updates of norm at most max_norm, + N(0, (noise_multiplier * max_norm / clients)^2).

    All clients have the same weight. epsilon is for a whole client (neighbours: its update is there or missing, add or
    remove), so copies of its records change nothing; it holds against those who see the model. The server sees the
    updates before the noise is added: against the threat `fed_server` this defence hides nothing but their length.
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

    def privacy(self, exposure: Exposure) -> Privacy:
        """Of all rounds, and of one; the chance that a client is not drawn into a round is not used."""
        return Privacy(self._epsilon(exposure.steps), self.delta, self._epsilon(1), "client", "add or remove")

    def _epsilon(self, rounds: int) -> float:
        from opacus.accountants import RDPAccountant

        accountant = RDPAccountant()
        accountant.history = [(self.noise_multiplier, 1.0, rounds)]
        return float(accountant.get_epsilon(self.delta)) if rounds else 0.0
