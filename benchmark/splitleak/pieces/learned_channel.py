"""What a defence does to a message, learned from queries: gain, shifts, noise, missing and rounded elements.

The attacker knows the client's output z for its records, and queries the reply y. Nothing is assumed about the defence:
- If elements are exactly 0 that were not 0 in z, zeros are missing elements. If they were always the smallest of their
  message, a zero still says that z was no larger than the smallest element that was sent.
- If y takes few values, and each value covers an interval of z of its own, a message says in which intervals z lies.
- Otherwise y = gain * z + shift + noise. Where fresh draws of the algorithm explain y better (it clips messages, say),
  they take the place of gain * z. If the residuals of all records are copies of a few vectors, these are the shifts; if
  not, there is one shift. The noise has a variance for each element, and tails as of a Gaussian or a Laplace variable,
  whichever fits better.
So a message becomes bounds on the expected message (equal where an element is sent as it is, infinite where it is
missing), and the misfit of a record is how far outside of the bounds its expected message lies, in units of the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

import torch
from torch import Tensor

FEW = 64  # different values of y, or different residuals, that count as few
HEAVY = 0.75  # mean size of noise of variance 1: below, it is nearer to Laplace (.71) than to Gaussian noise (.80)
FLOOR = 1e-6  # least variance of the noise, as a share of the message's
DRAWS = 16  # of the algorithm, for the expected message
Bounds = tuple[Tensor, Tensor]  # (N, *cut) each: the least and the largest expected message
Smash = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LearnedChannel:
    """z (N, *cut) -> the message that is expected; a message -> bounds."""

    gain: float
    shifts: Tensor  # (K, *cut)
    variance: Tensor  # (*cut) of the noise
    heavy: bool = False  # tails of the noise as of a Laplace variable
    missing: str = "none"  # what a zero means: "none" nothing special, "random" missing, "smallest" a small element
    cells: tuple[Tensor, Tensor, Tensor] | None = None  # (L,) each: the values of y, and the bounds of z for each
    smash: Smash | None = None  # the defence's algorithm, if it explains the messages better than the gain does
    seen: Tensor | None = None  # (*cut): the elements that count in a misfit, where not all do

    def bounds(self, y: Tensor) -> Bounds:
        if self.cells is not None:
            values, low, high = self.cells
            place = torch.bucketize(y, (values[1:] + values[:-1]) / 2)
            return low[place], high[place]
        if self.missing == "none":
            return y, y
        reach = torch.full_like(y, torch.inf)
        if self.missing == "smallest":
            reach = least_sent(y).expand_as(y)
        return torch.where(y == 0, -reach, y), torch.where(y == 0, reach, y)

    def expected(self, z: Tensor) -> Tensor:
        """(N, *cut) -> (N, *cut), without the shift; with fresh draws where the algorithm itself is followed."""
        sent = self.gain * z if self.smash is None else self.smash(z)
        return sent if sent.requires_grad == z.requires_grad else self.gain * z  # the algorithm may pass no gradient

    def misfit(self, z: Tensor, y: Tensor) -> Tensor:
        """(N,): minus the log likelihood of the messages y (N, *cut), up to a constant."""
        expected, (low, high) = self.expected(z), self.bounds(y)
        expected = expected + nearest(self.shifts, y - expected.detach())
        outside = ((low - expected).relu() + (expected - high).relu()) / self.variance.sqrt()
        if self.seen is not None:
            outside = outside * self.seen
        if self.heavy:
            return (sqrt(2) * ((outside.square() + 0.01).sqrt() - 0.1)).flatten(1).sum(1)
        return outside.square().flatten(1).sum(1) / 2


def learn_channel(z: Tensor, y: Tensor, smash: Smash) -> LearnedChannel:
    """From the client's outputs (M, *cut) for some records, the replies to queries for them, and the algorithm."""
    cells = cells_of(z, y)
    if cells is not None:
        width = (cells[2] - cells[1])[1:-1].median() if len(cells[0]) > 2 else y.std()
        return LearnedChannel(1.0, torch.zeros_like(z[:1]), (0.05 * width).square().expand(z.shape[1:]), cells=cells)
    missing = meaning_of_zero(z, y)
    sent = torch.ones_like(y) if missing == "none" else (y != 0).to(y.dtype)  # (M, *cut)
    gain = gain_of(z, y, sent)
    linear = fitted(gain, gain * z, y, sent, missing)
    if missing != "none" or len(linear.shifts) > 1:
        return linear
    mean = torch.stack([smash(z) for _ in range(DRAWS)]).mean(0)
    drawn = fitted(gain, mean, y, sent, missing)
    better = drawn.variance.mean() < 0.9 * linear.variance.mean()
    return replace(drawn, smash=smash, heavy=False) if better else linear


def meaning_of_zero(z: Tensor, y: Tensor) -> str:
    lost = (y == 0) & (z != 0)
    if lost.double().mean() < 0.01:
        return "none"
    return "smallest" if (z.abs() <= 1.001 * least_sent(y))[lost].double().mean() > 0.999 else "random"


def gain_of(z: Tensor, y: Tensor, sent: Tensor) -> float:
    """The slope of y over z; exactly 1 or 0 where the records do not contradict it."""
    count = sent.sum(0).clamp(min=1)
    z, y = (sent * (t - (sent * t).sum(0) / count) for t in (z, y))
    power = z.square().sum().clamp(min=1e-12)
    gain = (z * y).sum() / power
    error = (z * (y - gain * z)).flatten(1).sum(1).square().sum().sqrt() / power  # records are independent, values not
    return next((whole for whole in (1.0, 0.0) if abs(gain - whole) <= 4 * error), float(gain))


def fitted(gain: float, expected: Tensor, y: Tensor, sent: Tensor, missing: str) -> LearnedChannel:
    """Shifts and noise of the residuals y - expected of the elements that were sent."""
    count, scale = sent.sum(0).clamp(min=1), y.var(0).mean()
    residual = sent * (y - expected)
    few = few_different(residual, 1e-5 * float(scale)) if missing == "none" else residual[:0]
    mean = (residual.sum(0) / count)[None] * (missing == "none")
    shifts = few if few is not None and len(few) > 1 else mean
    noise = sent * (residual - nearest(shifts, residual))
    variance = noise.square().sum(0) / count + FLOOR * scale + 1e-12
    size = float((noise / variance.sqrt()).abs().sum() / sent.sum())
    heavy = size < HEAVY and bool(variance.mean() > 1e-3 * scale)
    return LearnedChannel(gain, shifts, variance, heavy, missing)


def nearest(shifts: Tensor, residual: Tensor) -> Tensor:
    """(K, *cut), (N, *cut) -> (N, *cut): the shift nearest to each residual."""
    if len(shifts) == 1:
        return shifts
    squared = torch.stack([(residual - shift).square().flatten(1).sum(1) for shift in shifts])  # (K, N)
    return shifts[squared.argmin(0)]


def least_sent(y: Tensor) -> Tensor:
    """(N, 1, ...): the smallest magnitude in each message that is not 0."""
    sizes = torch.where(y == 0, torch.inf, y.abs()).flatten(1).amin(1)
    return sizes.view(-1, *[1] * (y.dim() - 1))


def cells_of(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """The values that y takes, and the least and the largest z for each; None if they are many or overlap."""
    values = y[:32].unique()
    if not 1 < len(values) <= FEW or y.numel() < 100 * len(values):
        return None
    place = torch.bucketize(y.contiguous(), (values[1:] + values[:-1]) / 2)
    inside = [z[place == k] for k in range(len(values))]
    low, high = (torch.stack([getattr(part, name)() for part in inside]) for name in ("amin", "amax"))
    if bool((low[1:] < high[:-1] - 0.05 * (values[1:] - values[:-1])).any()):
        return None
    edges = (low[1:] + high[:-1]) / 2
    endless = edges.new_tensor([torch.inf])
    return values, torch.cat([-endless, edges]), torch.cat([edges, endless])


def few_different(vectors: Tensor, tolerance: float) -> Tensor | None:
    """(K, ...): those of (M, ...) that all others are copies of, up to a mean squared difference; None if many."""
    found = vectors[:1]
    distance = (vectors - found).square().flatten(1).mean(1)  # (M,) from the nearest one found
    while float(distance.max()) > tolerance:
        if len(found) == FEW:
            return None
        new = vectors[distance.argmax()][None]
        found = torch.cat([found, new])
        distance = torch.minimum(distance, (vectors - new).square().flatten(1).mean(1))
    return found
