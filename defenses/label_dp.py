"""Label DP (Warner 1965, Ghazi et al. 2021): train on labels from randomised response.

A record's label is the true one with probability e^eps / (e^eps + K - 1), else any other of the K classes. The random
choice is made once for each record: it is a keyed hash of the record's bytes, so that all epochs and the release show
the same label. With a new choice in each epoch an attacker could find the true label by counting.

Source: Warner, JASA 1965; Ghazi et al., "Deep Learning with Label Differential Privacy", NeurIPS 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from math import exp
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from splitleak.contract import BadInput, Defense, Hooks, Privacy, Split


@dataclass(frozen=True)
class LabelDP(Defense):
    """The client trains on, and sends, randomised labels: (epsilon, 0)-DP of the label alone.

    Neighbours differ in one record's label; the record itself is not hidden at all. Everything sent later is computed
    from the same randomised label, so epochs and release add nothing to epsilon. Records of exactly the same bytes
    share one random choice. The key is the seed: in a real system the client keeps it secret, because whoever knows the
    key and the record knows the random choice.
    """

    protocols = ("central", "vanilla", "u_shape", "fedavg")
    epsilon: Annotated[float, Field(gt=0, le=100)] = 1.0  # larger, fewer labels flipped

    def begin(self, split: Split, seed: int) -> Hooks:
        return _Live(self.epsilon, split, seed)

    def privacy(self, releases: int, batches: int = 1) -> Privacy:
        """One randomised label, however often it is sent."""
        return Privacy(self.epsilon if releases else 0.0, 0.0, self.epsilon)


class _Live(Hooks):
    """The live form: it has the key, and takes the number of classes from the shape of the network's output."""

    def __init__(self, epsilon: float, split: Split, seed: int) -> None:
        self.epsilon, self.split, self.key = epsilon, split, seed.to_bytes(8, "big")
        self.classes = 0

    def batch(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, *in) unchanged, y (B,) randomised."""
        if y.is_floating_point() or y.dim() > 1:
            raise BadInput("defense 'label_dp': it randomises labels of classes, and these labels are none")
        self.classes = self.classes or self._count(x)
        shifts = [self._shift(record.tobytes()) for record in x.detach().cpu().numpy()]
        shift = torch.tensor(shifts, dtype=y.dtype, device=y.device)
        return x, (y + shift) % self.classes

    def _shift(self, record: bytes) -> int:
        """What is added to the label, modulo K: 0 keeps the true one; 1 to K - 1 are equally likely."""
        digest = blake2b(record, digest_size=16, key=self.key).digest()
        one, other = int.from_bytes(digest[:8], "big") / 2**64, int.from_bytes(digest[8:], "big")
        keep = 1 / (1 + (self.classes - 1) * exp(-self.epsilon))
        return 0 if one < keep or self.classes < 2 else 1 + other % (self.classes - 1)

    def state(self) -> dict[str, Any]:
        return {"classes": self.classes}

    def load_state(self, state: dict[str, Any]) -> None:
        self.classes = state["classes"]

    @torch.no_grad()
    def _count(self, x: Tensor) -> int:
        """K, from a prediction: the hook does not know it, nor do the shapes around the cut of a u-shape."""
        was = self.split.training
        k = self.split.eval()(x[:2]).shape[1]
        self.split.train(was)
        return int(k)
