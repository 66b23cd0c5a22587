"""NoPeek (Vepakomma et al. 2020): lower the distance correlation of records and smashed data.

The client adds the distance correlation of its records and their smashed data z to its loss, so that the two become
statistically less dependent.

Source: Vepakomma, Singh, Gupta, Raskar, "NoPeek: Information leakage reduction to share activations in distributed
deep learning", ICDM Workshops 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from splitleak.contract import Defense


@dataclass(frozen=True)
class NoPeek(Defense):
    """Adds weight * dCor(x, z) to the client's loss; z itself is sent, and nothing is guaranteed about it.

    dCor is the paper's: biased, of Euclidean distances, over the current batch, 0 to 1. As a loss that is good enough.
    As a number to report it is not: for unrelated records it is near 1 in many dimensions (.98 for 32 records of 128
    values). Therefore the metrics report another, bias-corrected form.
    """

    protocols = ("central", "vanilla", "u_shape")  # it acts while the network learns
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5  # beside the task's loss of weight 1

    def penalty(self, x: Tensor, z: Tensor, sent: Tensor, y: Tensor) -> Tensor:
        return self.weight * distance_correlation(x.detach(), z)


def distance_correlation(x: Tensor, z: Tensor) -> Tensor:
    """(B, *in), (B, *cut) -> (): the gradient is finite also where records, activations or all distances are equal."""
    a, b = centred(x), centred(z)
    scale = (a.square().mean() * b.square().mean()).clamp(min=1e-30).sqrt()
    return ((a * b).mean() / scale).clamp(min=1e-12).sqrt()  # below either clamp the gradient is 0


def centred(x: Tensor) -> Tensor:
    """(B, ...) -> (B, B): Euclidean distances, less the means of their rows and columns."""
    flat = x.flatten(1)
    # By differences, not products: then a distance of 0 is exactly 0, and cdist gives it a gradient of 0.
    a = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    return a - a.mean(0) - a.mean(1, keepdim=True) + a.mean()
