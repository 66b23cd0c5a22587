"""A rule that tells a yes/no property from features, chosen by leaving people out.

Every person counts the same, however many records are theirs: what is learned is to hold for other people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitleak.nets import critic
from splitleak.pieces.components import folds_of, leading

Rule = Callable[[Tensor], Tensor]  # features (N, D) -> (N,), above 0 for yes
DECAYS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)  # what is added to the covariance, as a share of its mean variance
FOLDS = 4
STEPS, BATCH, WIDTH, RATE, WEIGHT_DECAY = 400, 128, 16, 1e-3, 1e-2  # of the network


@dataclass(frozen=True)
class Examples:
    """Features (M, D) of records, their answers (M,), 1 or -1, and their people (M,)."""

    f: Tensor
    answer: Tensor
    person: Tensor

    def take(self, rows: Tensor) -> Examples:
        return Examples(self.f[rows], self.answer[rows], self.person[rows])

    @property
    def weight(self) -> Tensor:
        """(M,), of sum 1: the same for every person."""
        _, place, count = self.person.unique(return_inverse=True, return_counts=True)
        share: Tensor = 1 / (count[place] * len(count)).double()
        return share

    def error(self, rule: Rule) -> Tensor:
        """(): the mean squared error of a rule."""
        return (self.weight * (rule(self.f) - self.answer).square()).sum()


Learner = Callable[[Examples], Sequence[Rule]]


def ridges(examples: Examples) -> Sequence[Rule]:
    """Least squares with each of the DECAYS."""
    w, f = examples.weight, examples.f
    mean, middle = w @ f, w @ examples.answer
    x = f - mean
    values, vectors = torch.linalg.eigh((w[:, None] * x).T @ x)
    along = vectors.T @ (x.T @ (w * (examples.answer - middle)))

    def rule(decay: float) -> Rule:
        weight = vectors @ (along / (values.clamp(min=0) + decay * values.mean().clamp(min=1e-12)))
        return lambda new: (new - mean) @ weight + middle

    return [rule(decay) for decay in DECAYS]


def networks(examples: Examples) -> Sequence[Rule]:
    """A network with two hidden layers, trained on batches in which every person is drawn equally often."""
    scale, answer, weight = examples.f.std(0).clamp(min=1e-6), examples.answer.float(), examples.weight
    f = (examples.f / scale).float()
    network = critic(tuple(f.shape[1:]), WIDTH).to(f.device)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(STEPS):
        rows = torch.multinomial(weight, BATCH, replacement=True)
        output = network(f[rows])[:, 0]
        optimizer.zero_grad()
        (output - answer[rows]).square().mean().backward()
        optimizer.step()
    return [Trained(network, scale)]


@dataclass(frozen=True)
class Trained:
    """A trained network as a rule."""

    network: nn.Module
    scale: Tensor  # (D,)

    @torch.no_grad()
    def __call__(self, f: Tensor) -> Tensor:
        output: Tensor = self.network((f / self.scale).float())[:, 0]
        return output.double()


def probe(f: Tensor, yes: Tensor, person: Tensor) -> Rule:
    """The best of ridge regressions and a small network, for features (M, D), answers 0 or 1 (M,) and people (M,)."""
    return best_rule(Examples(f, 2.0 * yes.double() - 1, person), [ridges, networks])


def best_rule(examples: Examples, learners: Sequence[Learner]) -> Rule:
    """Of all rules that the learners offer the one with the least error on left-out people, learned from all."""
    fold = folds_of(examples.person, FOLDS)
    errors = []
    for k in fold.unique().tolist():
        kept, held = examples.take(fold != k), examples.take(fold == k)
        share = held.person.unique().numel()
        errors.append(share * torch.stack([held.error(rule) for learn in learners for rule in learn(kept)]))
    rules = [rule for learn in learners for rule in learn(examples)]
    return rules[int(torch.stack(errors).sum(0).argmin())]


def raw_probe(x: Tensor, yes: Tensor, person: Tensor | None, targets: Tensor) -> Tensor:
    """(N,): what the best probe of records x (M, *in) themselves, with answers (M,), says of targets (N, *in)."""
    project = leading(x)
    people = torch.arange(len(x), device=x.device) if person is None else person
    return probe(project(x), yes, people)(project(targets))
