"""What messages are like before anybody attacks: numbers, directions in which they vary, Fisher information."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from splitleak.plan.seeds import Stream
from splitleak.score.channel import send
from splitleak.train.victim import Victim

MOST = 500  # records
PROBES = 16  # random directions in which a client's change is measured
REPEATS = 8  # messages of one record, of which the noise is estimated
FISHER = {"gaussian": 1.0, "laplace_range": 2.0}  # defence -> Fisher information of its noise, in 1 / variance


def described(victim: Victim, name: str, x: Tensor) -> dict[str, Any]:
    """Facts about the messages of records x (N, *in). name: the defence, if there is a derivative behind its noise."""
    x = x[:MOST]
    with Stream(0):
        z = send(victim, x, x)
    found: dict[str, Any] = {
        "message": list(z.shape[1:]),
        "numbers": z[0].numel(),
        "numbers_of_a_record": x[0].numel(),
        "effective_rank": effective_rank(z),
        "effective_rank_of_records": effective_rank(x),
    }
    if name in FISHER:
        found["fisher"] = fisher(victim, x[:64], FISHER[name])
    return found


def effective_rank(x: Tensor) -> float:
    """exp of the entropy of the singular values of x (N, ...), centred: in how many directions it varies.

    At most N - 1. Source: Roy and Vetterli, "The Effective Rank: A Measure of Effective Dimensionality", EUSIPCO 2007.
    """
    flat = x.flatten(1).double()
    flat = flat - flat.mean(0)
    gram = flat @ flat.T if len(flat) <= flat.shape[1] else flat.T @ flat
    values = torch.linalg.eigvalsh(gram)
    values = values.clamp(min=0).sqrt()
    values = values[values > 1e-7 * values.max()]
    if not len(values):
        return 0.0
    share = values / values.sum()
    return float((-(share * share.log()).sum()).exp())


def fisher(victim: Victim, x: Tensor, per_variance: float) -> dict[str, float | None]:
    """The bound of diagonal Fisher information leakage for independent noise, over records x (N, *in).

    Whoever guesses without bias has a mean squared error of at least `mse` in each value of a record: the number of
    values over the trace of J^T J times the noise's Fisher information, J the derivative of the message (without
    clipping, which makes it smaller). A guess that knows what records look like is biased, and may be better.
    Source: Maeng et al., "Bounding the Invertibility of Privacy-preserving Instance Encoding using Fisher Information",
    NeurIPS 2023, section 3. None: no message depends on its record.
    """
    with Stream(0), torch.no_grad():
        repeated = torch.stack([send(victim, x, x) for _ in range(REPEATS)]).flatten(2)  # (R, N, D)
    variance = repeated.var(0).mean(1).double()  # (N,)
    generator = torch.Generator().manual_seed(0)
    energy = torch.zeros(len(x), dtype=torch.double)
    for _ in range(PROBES):
        v = torch.randn(x.shape, generator=generator)
        moved: Tensor = torch.func.jvp(lambda t: victim.split.bottom(t)[0], (x,), (v,))[1]
        energy += moved.detach().flatten(1).double().square().sum(1) / PROBES
    trace = energy * per_variance / variance
    mean = float(trace.mean())  # the mean of the bounds is at least the bound of the mean
    return {
        "mse": x[0].numel() / mean if mean > 0 else None,
        "variance_of_records": float(x.flatten(1).var(0).mean()),
    }
