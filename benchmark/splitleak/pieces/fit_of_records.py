"""How well a network fits single records, on the scale of a logit, as attacks on membership use it."""

from __future__ import annotations

import torch
from torch import Tensor

from splitleak.contract import Shadow, View

LEAST = 1e-300  # of a loss or a norm, before its logarithm


def fit_of(side: View | Shadow, view: View) -> Tensor:
    """(N,) for the targets: high where the victim (`side` is the view) or a shadow of it fits a target well.

    vanilla: log(p / (1 - p)) with p = exp(-loss) of the server's part on the message; for classes p is the probability
    of the label that was sent (Carlini et al. 2022, algorithm 1).
    u_shape: minus the log of the norm of the features' gradient, which for a linear head and cross-entropy has the
    order of 1 - p. Its inverse logit takes the place of p.
    """
    if view.out_shape is not None:
        size: Tensor = side.gradient_features.double().flatten(1).norm(dim=1).clamp(min=LEAST).log()
        return -size
    top, labels = side.top, side.labels
    with torch.no_grad():
        outputs = torch.cat([top(z) for z in side.smashed.split(256)]).double()  # (N, K), masks or values
    if view.task.kind == "classes":
        own = outputs.gather(1, labels[:, None])[:, 0]
        return own - outputs.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    pairs = zip(outputs.split(1), labels.split(1), strict=True)
    loss = torch.stack([view.task.loss(output, y) for output, y in pairs])
    return -(loss + torch.log(-torch.expm1(-loss.clamp(min=LEAST))))  # -log(exp(loss) - 1), which would overflow
