"""The question of an attack with its ground truth: it checks and scores the guess."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from splitleak.contract import BadGuess, Goal, Records, Task
from splitleak.pieces.matching import matched_labels, matched_records
from splitleak.score import metrics, people, per_target, uncertainty
from splitleak.score.floor import Floor
from splitleak.score.per_target import PerTarget
from splitleak.score.plain_guess import plain_guess

OF_PEOPLE = (Goal.PROPERTY, Goal.LINKAGE)  # intervals are over people where they are known
NULL_LIMIT, NULL_P = 0.02, 0.001  # the null channel leaks above this advantage, or below this permutation p


@dataclass(frozen=True)
class Question:
    """Goal and targets of an attack, the ground truth, and the floor."""

    goal: Goal
    task: Task
    in_range: tuple[float, float]
    targets: Records
    truth: Tensor
    floor: Floor
    counted: Tensor  # positions of the targets that count; hints do not
    group: Tensor | None = None  # (N,) the update of each target; within an update a guess is a set

    def check(self, guess: Any, who: str) -> Tensor:
        """The guess on the CPU in double precision, or BadGuess, which says what is wrong and what is legal."""
        wanted = self._shape()
        checked = plain_guess(guess, wanted, who)
        legal = str(wanted)
        if self.goal is Goal.LINKAGE:  # an embedding has as many columns as the attack likes
            legal = f"({len(self.targets)}, D) with D from 1"
            wanted = (wanted[0], max(checked.shape[1], 1)) if checked.dim() == 2 else wanted
        if tuple(checked.shape) != wanted:
            raise BadGuess(f"{who}: guess has shape {tuple(checked.shape)}, goal {self.goal.name} needs {legal}")
        if not checked.isfinite().all():
            raise BadGuess(f"{who}: guess holds NaN or infinity")
        mask = self.goal is Goal.LABELS and self.task.kind == "mask"
        if self.goal is Goal.INPUTS or mask:
            low, high = (0.0, 1.0) if mask else self.in_range
            if checked.min() < low - 1e-4 or checked.max() > high + 1e-4:
                found = f"{checked.min():.3g} to {checked.max():.3g}"
                raise BadGuess(
                    f"{who}: guess ranges from {found}, goal {self.goal.name} needs {low:g} to {high:g}: clamp it"
                )
            checked = checked.clamp(low, high)
        return self.placed(checked)

    def placed(self, guess: Tensor) -> Tensor:
        """The guess in the order in which it is scored: the best one within each update."""
        if self.group is None:
            return guess
        match = matched_records if self.goal is Goal.INPUTS else matched_labels
        return match(guess, self.truth, self.group)

    def drawn(self, others: Tensor, generator: np.random.Generator) -> Tensor:
        """Records of others (M, *in) drawn blindly, as many as there are targets, in the order that is scored."""
        n = len(self.targets)
        chosen = torch.from_numpy(generator.choice(len(others), n, replace=len(others) < n))
        return self.placed(others[chosen.to(others.device)].cpu().double())

    @cached_property
    def floor_guess(self) -> Tensor:
        """The guess of the floor for the targets that count."""
        return self.floor.guess[self.counted]

    def score(self, guess: Tensor) -> dict[str, float]:
        """All metrics of a checked guess."""
        guess, truth, floor = guess[self.counted], self.truth[self.counted], self.floor_guess
        if self.goal is Goal.INPUTS:
            return metrics.inputs(guess, truth, floor, self.in_range)
        labels = self.targets.y.cpu() if self.task.kind == "classes" else None
        if self.goal is Goal.MEMBERSHIP and labels is not None:
            return metrics.members(guess, truth, self.targets.y)
        if self.goal is Goal.LINKAGE:
            return metrics.finite(people.linkage(guess, truth, labels))
        if self.goal is Goal.PROPERTY:
            return metrics.properties(guess, truth, labels)
        if self.goal is not Goal.LABELS:
            return metrics.scores(guess, truth)
        kinds = {"classes": metrics.classes, "mask": metrics.masks, "value": metrics.values}
        return kinds[self.task.kind](guess, truth, floor)

    def per_target(self, guess: Tensor) -> PerTarget:
        guess, truth, floor = guess[self.counted], self.truth[self.counted], self.floor_guess
        if self.goal is Goal.INPUTS:
            return per_target.errors(guess, truth, floor)
        if self.goal is Goal.LINKAGE:
            return per_target.same_for_all(people.linkage(guess, truth, None)["auc"], len(truth))
        if self.goal is not Goal.LABELS:
            return per_target.placements(guess, truth)
        kinds = {"classes": per_target.hits, "mask": per_target.overlaps, "value": per_target.errors}
        return kinds[self.task.kind](guess, truth, floor)

    def ci95(self, guess: Tensor, seed: int) -> float:
        """Half the width of the interval of the advantage: over targets, or over their people (OF_PEOPLE)."""
        person, rng = self.targets.group, np.random.default_rng(seed)
        if self.goal is Goal.LINKAGE:
            return people.Scored.pairs(guess, self.truth).ci95(rng)
        if self.goal is Goal.PROPERTY and person is not None:
            return people.Scored.records(guess, self.truth, person).ci95(rng)
        return uncertainty.bootstrap_ci(self.per_target(guess), rng)

    def null_leaks(self, guess: Tensor, advantage: float, seed: int) -> tuple[bool, float | None]:
        """Whether a guess made on the null channel fits the truth, and the p of a permutation test or None."""
        if self.goal is Goal.INPUTS:
            return advantage > NULL_LIMIT, None
        draws = 999 if self.task.kind == "classes" else 199
        rng, guess = np.random.default_rng(seed), guess[self.counted]
        if self.goal is Goal.LINKAGE:
            guess = people.rank_of_pairs(guess)
        p = uncertainty.permutation_p(self._fit, guess, self.truth[self.counted], rng, draws, self._people())
        return p < max(NULL_P, 1.5 / (draws + 1)), p

    def _people(self) -> Tensor | None:
        """(N,): the number of each target's person where the truth is one of people, else None.

        Records of one person are alike, so a guess that depends on the record fits some people better by chance.
        """
        if self.goal not in (Goal.MEMBERSHIP, Goal.PROPERTY) or self.targets.group is None:
            return None
        people, truth = self.targets.group.cpu().unique(return_inverse=True)[1], self.truth.double()
        n = int(people.max()) + 1
        share = torch.zeros(n).double().index_add(0, people, truth) / people.bincount(minlength=n)
        return people if bool(((share == 0) | (share == 1)).all()) else None

    def _fit(self, guess: Tensor, truth: Tensor) -> float:
        """How well guesses fit their truths, higher is better; the permutation test compares this.

        Of LINKAGE `guess` is the ranks of the pairs, which no permutation of the people changes.
        """
        if self.goal is Goal.LINKAGE:
            return people.permuted_linkage(guess, truth)
        if self.goal is not Goal.LABELS:
            return per_target.auc(guess, truth)
        kinds = {"classes": per_target.hits, "mask": per_target.overlaps, "value": per_target.errors}
        fit = float(kinds[self.task.kind](guess, truth, self.floor_guess).guess.mean())
        return -fit if self.task.kind == "value" else fit

    def _shape(self) -> tuple[int, ...]:
        n = len(self.targets)
        if self.goal is Goal.INPUTS:
            return tuple(self.targets.x.shape)
        if self.goal is Goal.LINKAGE:
            return (n, 1)
        if self.goal is not Goal.LABELS:
            return (n,)
        return (n, self.task.size) if self.task.kind == "classes" else tuple(self.targets.y.shape)
