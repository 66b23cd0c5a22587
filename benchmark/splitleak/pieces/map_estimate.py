"""The most probable record for a message: descent on the misfit of the expected message plus a prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from splitleak.contract import View
from splitleak.pieces.decoding import decode
from splitleak.pieces.gaussian_prior import GaussianPrior, fit_prior
from splitleak.pieces.learned_channel import LearnedChannel, learn_channel
from splitleak.pieces.learner import DecoderLearner

WEIGHTS = (0.25, 1.0, 4.0)  # of the prior, to choose from
SENT = 2**21  # values in the messages that the channel is learned from
BETAS = (0.9, 0.95)  # of Adam: a memory of 20 steps, because gradients shrink by orders of magnitude on the way
EDGE = 0.01  # deviation of values outside the range, in its widths


@dataclass(frozen=True)
class MapEstimate:
    """Searches for all messages at once; each is a problem of its own."""

    bottom: Callable[[Tensor], Tensor]
    channel: LearnedChannel
    prior: GaussianPrior
    span: tuple[float, float]
    steps: int
    lr: float  # of Adam at the start of a cosine, in deviations of the prior

    def search(self, starts: list[Tensor], y: Tensor, weight: float) -> Tensor:
        """Starts (N, *in) and messages (N, *cut) -> (N, *in): for each message the end of least loss."""
        size = max(min(250, 2**18 // prod(self.prior.mean.shape)), 2)  # messages searched together
        parts = zip(*(start.split(size) for start in starts), y.split(size), strict=True)
        return torch.cat([self._best(part[:-1], part[-1], weight) for part in parts])

    def _best(self, starts: tuple[Tensor, ...], y: Tensor, weight: float) -> Tensor:
        ends = torch.stack([self._descend(self.prior.coordinates(x), y, weight) for x in starts])  # (S, B, D)
        with torch.no_grad():
            losses = torch.stack([self._loss(u, y, weight) for u in ends])  # (S, B)
        best = ends[losses.argmin(0), torch.arange(len(y), device=y.device)]
        return self.prior.records(best).clamp(*self.span)

    def _descend(self, u: Tensor, y: Tensor, weight: float) -> Tensor:
        u = u.requires_grad_()  # (B, D)
        optimizer = torch.optim.Adam([u], self.lr, BETAS)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(self.steps, 1))
        for _ in range(self.steps):
            (u.grad,) = torch.autograd.grad(self._loss(u, y, weight).sum(), u)
            optimizer.step()
            schedule.step()
        return u.detach()

    def _loss(self, u: Tensor, y: Tensor, weight: float) -> Tensor:
        """(B,): minus the log posterior, up to a constant; values outside the range are improbable too."""
        x = self.prior.records(u)
        beyond = (x - x.clamp(*self.span)) / (EDGE * (self.span[1] - self.span[0]))
        surprise = (u.square().sum(1) + beyond.square().flatten(1).sum(1)) / 2
        return self.channel.misfit(self.bottom(x), y) + weight * surprise


def estimate(view: View, records: Tensor, held: Tensor, learner: DecoderLearner, steps: int, lr: float) -> Tensor:
    """(N, *in): a guess for each target, from records of the attacker (n, *in); the held-out ones tune the search.

    They choose the weight of the prior, and the share of the decoder's guess in the final one.
    """
    decoder, bottom = learner.inverse(view, records, held), view.bottom
    some = records[: max(SENT // prod(view.cut_shape), 64)]
    with torch.no_grad():
        z = torch.cat([bottom(part) for part in some.split(256)])
    channel = learn_channel(z, view.query(some), view.defense.smash)
    search = MapEstimate(bottom, channel, fit_prior(records), view.in_range, steps, lr)

    def both(y: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """The decoder's guess, and the most probable record."""
        decoded = decode(decoder, y)
        return decoded, search.search([decoded, search.prior.mean.expand_as(decoded)], y, weight)

    reply = view.query(held)
    tried = {weight: both(reply, weight) for weight in WEIGHTS}
    shares = {weight: share_of(held, *guesses) for weight, guesses in tried.items()}
    weight = min(tried, key=lambda w: float(F.mse_loss(blend(*tried[w], shares[w]), held)))
    decoded, found = both(view.smashed, weight)
    return blend(decoded, found, shares[weight])


def blend(decoded: Tensor, found: Tensor, share: float) -> Tensor:
    return share * decoded + (1 - share) * found


def share_of(x: Tensor, decoded: Tensor, found: Tensor) -> float:
    """The share of `decoded` in the mean that is nearest to x; the rest is `found`."""
    apart = decoded - found
    share = ((x - found) * apart).sum() / apart.square().sum().clamp(min=1e-12)
    return float(share.clamp(0, 1))
