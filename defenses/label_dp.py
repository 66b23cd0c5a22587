"""Randomised response: a record's label is the true one with probability e^eps / (e^eps + K - 1), else any other.

The coin is thrown once a record and never again: it is a keyed hash of the record's bytes, so all epochs and the
release show the same label. A fresh coin each epoch would be undone by counting.

Warner, JASA 1965; Ghazi et al., "Deep Learning with Label Differential Privacy", NeurIPS 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from math import exp
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from splitleak.contract import BadInput, Defense, Hooks, Privacy, Split


@dataclass(frozen=True)
class LabelDP(Defense):
    """The client trains on, and sends, randomised labels: (epsilon, 0)-DP of the label alone.

    Neighbours differ in one record's label; the record itself is not hidden at all. Everything sent later is made from
    the same one answer, so epochs and release add nothing to epsilon. Records of the very same bytes share their coin.
    The key is the seed: a client in earnest keeps it secret; whoever knows it and the record knows the coin.
    """

    protocols = ("central", "vanilla", "u_shape", "fedavg")
    epsilon: Annotated[float, Field(gt=0, le=100)] = 1.0  # larger, fewer labels flipped

    def begin(self, split: Split, seed: int) -> Hooks:
        return _Answers(self.epsilon, split, seed)

    def privacy(self, releases: int, batches: int = 1) -> Privacy:
        """One answer, however often it is sent."""
        return Privacy(self.epsilon if releases else 0.0, 0.0, self.epsilon)


class _Answers(Hooks):
    """The live form: it knows its key, and learns the number of classes from what the network answers."""

    def __init__(self, epsilon: float, split: Split, seed: int) -> None:
        self.epsilon, self.split, self.key = epsilon, split, seed.to_bytes(8, "big")
        self.classes = 0

    def batch(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, *in) as it is, y (B,) answered."""
        if y.is_floating_point() or y.dim() > 1:
            raise BadInput("defense 'label_dp': it answers among classes, and the labels are none")
        self.classes = self.classes or self.count(x)
        coins = [self.coin(record.tobytes()) for record in x.detach().cpu().numpy()]
        shift = torch.tensor(coins, dtype=y.dtype, device=y.device)
        return x, (y + shift) % self.classes

    def coin(self, record: bytes) -> int:
        """0: the true label; 1 to K - 1: so many classes further, all alike."""
        digest = blake2b(record, digest_size=16, key=self.key).digest()
        one, other = int.from_bytes(digest[:8], "big") / 2**64, int.from_bytes(digest[8:], "big")
        keep = 1 / (1 + (self.classes - 1) * exp(-self.epsilon))
        return 0 if one < keep or self.classes < 2 else 1 + other % (self.classes - 1)

    @torch.no_grad()
    def count(self, x: Tensor) -> int:
        """K: neither the hook nor, in a u-shape, the shapes around the cut tell it."""
        was = self.split.training
        k = self.split.eval()(x[:2]).shape[1]
        self.split.train(was)
        return int(k)
