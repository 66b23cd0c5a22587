"""Label DP (Warner 1965, Ghazi et al. 2021): train on labels from randomised response.

A record's label is the true one with probability e^eps / (e^eps + K - 1), else any other of the K classes. The random
choice is made once for each record: it is a keyed hash of the record's identity, so that all epochs, all varied images
of the record and the release show the same label. With several choices an attacker could find the true label by
counting.

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

from splitleak.contract import BadInput, Defense, Exposure, Hooks, Privacy, Records, Split


@dataclass(frozen=True)
class LabelDP(Defense):
    """The client trains on, and sends, randomised labels: (epsilon, 0)-DP of the label alone.

    Neighbours differ in one record's label (replace: it is another class); the record itself is not hidden at all.
    Everything sent later is computed from the same randomised label, so epochs and release add nothing to epsilon.
    Copies of a record have one identity and share one random choice; two records of equal values do not. The key is the
    seed: in a real system the client keeps it secret, because whoever knows the key and the identity knows the random
    choice.
    """

    protocols = ("central", "vanilla", "u_shape", "fedavg")
    epsilon: Annotated[float, Field(gt=0, le=100)] = 1.0  # larger, fewer labels flipped

    def begin(self, split: Split, seed: int) -> Hooks:
        return _Live(self.epsilon, split, seed)

    def privacy(self, exposure: Exposure) -> Privacy:
        """One randomised label for each differing record, however often it is sent and however many copies it has."""
        whole = self.epsilon * exposure.records if exposure.messages else 0.0
        return Privacy(whole, 0.0, self.epsilon, "label", "replace", exposure.copies)


class _Live(Hooks):
    """The live form: it has the key and the number of classes, which it reads off a prediction of the fresh network."""

    def __init__(self, epsilon: float, split: Split, seed: int) -> None:
        self.epsilon, self.key, self.classes = epsilon, seed.to_bytes(8, "big"), count(split)

    def labels(self, records: Records) -> Tensor:
        """y (n,), randomised."""
        y = records.y
        if y.is_floating_point() or y.dim() > 1:
            raise BadInput("defense 'label_dp': it randomises labels of classes, and these labels are none")
        shifts = [self._shift(identity) for identity in records.id.tolist()]
        return (y + torch.tensor(shifts, dtype=y.dtype, device=y.device)) % self.classes

    def _shift(self, identity: int) -> int:
        """What is added to the label, modulo K: 0 keeps the true one; 1 to K - 1 are equally likely."""
        digest = blake2b(identity.to_bytes(8, "big", signed=True), digest_size=16, key=self.key).digest()
        one, other = int.from_bytes(digest[:8], "big") / 2**64, int.from_bytes(digest[8:], "big")
        keep = 1 / (1 + (self.classes - 1) * exp(-self.epsilon))
        return 0 if one < keep or self.classes < 2 else 1 + other % (self.classes - 1)

    def state(self) -> dict[str, Any]:
        """Nothing changes in training."""
        return {}


@torch.no_grad()
def count(split: Split) -> int:
    """K, from a prediction: the shapes around the cut of a u-shape do not tell it."""
    was, device = split.training, next(iter(split.parameters()), torch.empty(0)).device
    k = split.eval()(torch.zeros(2, *split.in_shape, device=device)).shape[1]
    split.train(was)
    return int(k)
