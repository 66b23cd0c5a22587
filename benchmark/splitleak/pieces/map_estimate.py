"""The most probable record for a message: descent on the misfit of the expected message plus a prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak.contract import Attack, View
from splitleak.pieces.decoding import decode
from splitleak.pieces.effort import affordable
from splitleak.pieces.gaussian_prior import fit_prior
from splitleak.pieces.latent_prior import fit_latent_prior
from splitleak.pieces.learned_channel import LearnedChannel, learn_channel
from splitleak.pieces.learner import DecoderLearner

WEIGHTS = (0.25, 1.0, 4.0)  # of the prior, to choose from
SENT = 2**21  # values in the messages that the channel is learned from
BETAS = (0.9, 0.95)  # of Adam: a memory of 20 steps, because gradients shrink by orders of magnitude on the way
EDGE = 0.01  # deviation of values outside the range, in its widths


class Prior(Protocol):
    """Records are made from coordinates u (N, D); `surprise` (N,) is minus their log density, up to a constant."""

    @property
    def mean(self) -> Tensor: ...
    def records(self, u: Tensor) -> Tensor: ...
    def coordinates(self, x: Tensor) -> Tensor: ...
    def surprise(self, u: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class MapEstimate:
    """Searches for all messages at once; each is a problem of its own."""

    bottom: Callable[[Tensor], Tensor]
    channel: LearnedChannel
    prior: Prior
    span: tuple[float, float]
    steps: int
    lr: float  # of Adam at the start of a cosine, in deviations of the prior
    drawn: int = 0  # starts that are drawn from the prior, beside the decoder's guess and the mean
    trial: int = 0  # steps of each start, of which only the best goes on; 0: all go on

    @property
    def together(self) -> int:
        """How many messages are searched for together."""
        return max(min(250, 2**18 // prod(self.prior.mean.shape)), 2)

    def search(self, decoded: Tensor, y: Tensor, weight: float) -> Tensor:
        """The decoder's guesses (N, *in) and messages (N, *cut) -> (N, *in): for each message the end of least loss."""
        parts = zip(decoded.split(self.together), y.split(self.together), strict=True)
        return torch.cat([self._best(start, sent, weight) for start, sent in parts])

    def end(self, start: Tensor, y: Tensor, weight: float) -> Tensor:
        """The end (N, *in) of the descent from one start, for all messages together."""
        return self.prior.records(self._descend(self.prior.coordinates(start), y, weight, self.steps)).clamp(*self.span)

    def _best(self, decoded: Tensor, y: Tensor, weight: float) -> Tensor:
        first = self.prior.coordinates(decoded)  # (B, D)
        starts = [first, self.prior.coordinates(self.prior.mean.expand_as(decoded))]
        starts += [torch.randn_like(first) for _ in range(self.drawn)]
        if self.trial:
            starts = [self._least([self._descend(u, y, weight, self.trial) for u in starts], y, weight)]
        found = self._least([self._descend(u, y, weight, self.steps) for u in starts], y, weight)
        return self.prior.records(found).clamp(*self.span)

    @torch.no_grad()
    def _least(self, ends: list[Tensor], y: Tensor, weight: float) -> Tensor:
        losses = torch.stack([self._loss(u, y, weight) for u in ends])  # (S, B)
        return torch.stack(ends)[losses.argmin(0), torch.arange(len(y), device=y.device)]

    def _descend(self, u: Tensor, y: Tensor, weight: float, steps: int) -> Tensor:
        u = u.requires_grad_()  # (B, D)
        optimizer = torch.optim.Adam([u], self.lr, BETAS)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
        for _ in range(steps):
            (u.grad,) = torch.autograd.grad(self._loss(u, y, weight).sum(), u)
            optimizer.step()
            schedule.step()
        return u.detach()

    def _loss(self, u: Tensor, y: Tensor, weight: float) -> Tensor:
        """(B,): minus the log posterior, up to a constant; values outside the range are improbable too."""
        x = self.prior.records(u)
        beyond = (x - x.clamp(*self.span)) / (EDGE * (self.span[1] - self.span[0]))
        surprise = self.prior.surprise(u) + beyond.square().flatten(1).sum(1) / 2
        return self.channel.misfit(self.bottom(x), y) + weight * surprise


@dataclass(frozen=True)
class SearchAttack(Attack):
    """What the attacks that search have in common."""

    steps: int = 200  # of the search
    lr: float = 0.2  # the start of a cosine schedule, in deviations of the prior
    learn: int = 1000  # steps of the decoder
    width: int = 64  # channels of the decoder
    held: int = 128  # held-out records, at most a tenth of all; a quarter if records are large

    def _set_apart(self, records: Tensor) -> tuple[Tensor, Tensor]:
        """(n, *in) to learn from and (m, *in) held out, in a random order."""
        records = records[torch.randperm(len(records), device=records.device)]
        m = max(min(affordable(self.held, records.shape[1:]), len(records) // 10), 1)
        return records[m:], records[:m]

    def _learner(self, batch: int = 32, checks: int = 10) -> DecoderLearner:
        return DecoderLearner(self.learn, batch, lr=3e-3, width=self.width, dense=16384, checks=checks)


@dataclass(frozen=True)
class Knowledge:
    """What a search is made of, learned from records of the attacker (n, *in)."""

    view: View
    records: Tensor
    held: Tensor  # (m, *in) that nothing is fitted to; they tune what is found
    decoder: nn.Module
    bottom: nn.Module
    channel: LearnedChannel

    def pixels(self, steps: int, lr: float) -> MapEstimate:
        """Searches every value of a record, with a Gaussian prior."""
        return MapEstimate(self.bottom, self.channel, fit_prior(self.records), self.view.in_range, steps, lr)

    def latents(self, number: int, steps: int, lr: float, drawn: int, trial: int) -> MapEstimate:
        """Searches the latents of a small generator; what it cannot make of a record is noise of the message too."""
        prior = fit_latent_prior(self.records, number)
        with torch.no_grad():
            made = self.bottom(prior.records(prior.coordinates(self.held)))
            missed = (self.channel.gain * (made - self.bottom(self.held))).square().mean(0)  # (*cut)
        channel = replace(self.channel, variance=self.channel.variance + missed + 0.01 * missed.mean())
        return MapEstimate(self.bottom, channel, prior, self.view.in_range, steps, lr, drawn, trial)

    def guess(self, *searches: MapEstimate) -> Tensor:
        """(N, *in): the decoder's guesses, into which each search's are mixed; the held-out records choose how.

        They choose the weight of the prior, and the share of each search in the guess.
        """
        reply, sent = self.view.query(self.held), self.view.smashed
        near, decoded = decode(self.decoder, reply), decode(self.decoder, sent)
        tried, guess = near, decoded
        for one in searches:
            found = {weight: one.search(near, reply, weight) for weight in WEIGHTS}
            mixed = {weight: blend(tried, x, share_of(self.held, tried, x)) for weight, x in found.items()}
            weight = min(mixed, key=lambda w: float(F.mse_loss(mixed[w], self.held)))
            share = share_of(self.held, tried, found[weight])
            tried, guess = mixed[weight], blend(guess, one.search(decoded, sent, weight), share)
        return guess


def learn(view: View, records: Tensor, held: Tensor, learner: DecoderLearner) -> Knowledge:
    decoder, bottom = learner.inverse(view, records, held), view.bottom
    some = records[: max(SENT // prod(view.cut_shape), 64)]
    with torch.no_grad():
        z = torch.cat([bottom(part) for part in some.split(256)])
    channel = learn_channel(z, view.query(some), view.defense.smash)
    return Knowledge(view, records, held, decoder, bottom, channel)


def blend(decoded: Tensor, found: Tensor, share: float) -> Tensor:
    return share * decoded + (1 - share) * found


def share_of(x: Tensor, decoded: Tensor, found: Tensor) -> float:
    """The share of `decoded` in the mean that is nearest to x; the rest is `found`."""
    apart = decoded - found
    share = ((x - found) * apart).sum() / apart.square().sum().clamp(min=1e-12)
    return float(share.clamp(0, 1))
