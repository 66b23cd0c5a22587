"""Protocols: what crosses between a client and the server while a network is trained, or used after training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Protocol = Literal["central", "vanilla", "u_shape", "inference", "fedavg"]


@dataclass(frozen=True)
class Traffic:
    """What a protocol sends. All later code asks these questions instead of comparing names."""

    cut: bool  # the network is cut, and messages about single records cross
    labels: bool = False  # the labels cross with the smashed data, and the server computes the loss
    head: bool = False  # the client keeps the last part: features come down and their gradient goes up
    updates: bool = False  # weights cross, after training on the client's own records
    one_way: bool = False  # the network is trained already: smashed data goes up, and nothing that tells of labels

    @property
    def messages(self) -> tuple[str, ...]:
        """Names of the tensors that cross for one batch."""
        if not self.cut:
            return ()
        if self.one_way:
            return ("smashed",)
        return ("smashed", "gradient", *(("features", "gradient_features") if self.head else ("labels",)))


TRAFFIC: dict[str, Traffic] = {
    "central": Traffic(cut=False),
    "vanilla": Traffic(cut=True, labels=True),
    "u_shape": Traffic(cut=True, head=True),
    "inference": Traffic(cut=True, one_way=True),
    "fedavg": Traffic(cut=False, updates=True),
}
