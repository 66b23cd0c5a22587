"""How a victim is trained, whatever its network, its records and its defence."""

from __future__ import annotations

from dataclasses import dataclass, field

from splitleak.contract import Protocol
from splitleak.contract.protocols import TRAFFIC, Traffic
from splitleak.plan.seeds import Seeds
from splitleak.plan.settings import Clients, Federated, Train


@dataclass(frozen=True)
class Recipe:
    """Protocol, settings, clients and seeds of one training."""

    protocol: Protocol = "vanilla"
    train: Train = field(default_factory=Train)
    clients: Clients = field(default_factory=Clients)
    federated: Federated | None = None  # of protocol `fedavg`
    seeds: Seeds = field(default_factory=Seeds)

    @property
    def traffic(self) -> Traffic:
        """What crosses the wire under the protocol."""
        return TRAFFIC[self.protocol]
