"""The question of an attack with its ground truth: it checks and scores the guess."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from splitleak.contract import BadGuess, Goal, Records, Task
from splitleak.contract.gate import bare
from splitleak.score import metrics, per_target, uncertainty
from splitleak.score.floor import Floor
from splitleak.score.per_target import PerTarget

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
        if not isinstance(guess, Tensor):
            raise BadGuess(f"{who}: guess is {type(guess).__name__}, must be a tensor of shape {wanted}")
        checked = bare(guess.detach().cpu().double())
        if tuple(checked.shape) != wanted:
            raise BadGuess(f"{who}: guess has shape {tuple(checked.shape)}, goal {self.goal.name} needs {wanted}")
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
        return checked if self.group is None else self.matched(checked)

    def matched(self, guess: Tensor) -> Tensor:
        """The guess, its members in the order that fits best within each group (Kuhn 1955)."""
        found, group = guess.clone(), cast(Tensor, self.group)
        for members in (torch.nonzero(group == k).flatten() for k in range(int(group.max()) + 1)):
            guessed, true = guess[members], self.truth[members]
            if self.goal is Goal.INPUTS:
                cost = torch.cdist(true.flatten(1), guessed.flatten(1)).square()
            else:
                cost = -guessed.log_softmax(1)[:, true].T
            found[members] = guessed[torch.from_numpy(linear_sum_assignment(cost.numpy())[1])]
        return found

    def with_drawn_floor(self, aux: Records, seed: int) -> Question:
        """The same question with the better of two floors: the mean record, or records drawn from the auxiliary set.

        A drawn set fits better where many records were sent together: of a thousand heartbeats, some look like each
        of a thousand others.
        """
        if self.goal is not Goal.INPUTS:
            return self
        chosen = np.random.default_rng(seed).choice(len(aux), len(self.targets), replace=len(aux) < len(self.targets))
        drawn = self.matched(aux.x[torch.from_numpy(chosen).to(aux.x.device)].cpu().double())
        fits = [(self.truth - guess).square().mean() for guess in (self.floor.inputs, drawn)]
        if fits[0] <= fits[1]:
            return self
        return replace(self, floor=Floor(drawn, self.floor.label, "auxiliary records"))

    def score(self, guess: Tensor) -> dict[str, float]:
        """All metrics of a checked guess."""
        guess, truth, label = guess[self.counted], self.truth[self.counted], self.floor.label
        if self.goal is Goal.INPUTS:
            return metrics.inputs(guess, truth, self.floor.inputs[self.counted], self.in_range)
        if self.goal is not Goal.LABELS:
            return metrics.scores(guess, truth)
        if isinstance(label, int):
            return metrics.classes(guess, truth, label)
        return metrics.masks(guess, truth, label) if self.task.kind == "mask" else metrics.values(guess, truth, label)

    def per_target(self, guess: Tensor) -> PerTarget:
        guess, truth, label = guess[self.counted], self.truth[self.counted], self.floor.label
        if self.goal is Goal.INPUTS:
            return per_target.errors(guess, truth, self.floor.inputs[self.counted])
        if self.goal is not Goal.LABELS:
            return per_target.placements(guess, truth)
        if isinstance(label, int):
            return per_target.hits(guess, truth, label)
        kind = per_target.overlaps if self.task.kind == "mask" else per_target.errors
        return kind(guess, truth, label)

    def ci95(self, guess: Tensor, seed: int) -> float:
        return uncertainty.bootstrap_ci(self.per_target(guess), np.random.default_rng(seed))

    def null_leaks(self, guess: Tensor, advantage: float, seed: int) -> tuple[bool, float | None]:
        """Whether a guess made on the null channel fits the truth, and the p of a permutation test or None."""
        if self.goal is Goal.INPUTS:
            return advantage > NULL_LIMIT, None
        draws = 999 if self.task.kind == "classes" else 199
        rng = np.random.default_rng(seed)
        p = uncertainty.permutation_p(self._fit, guess[self.counted], self.truth[self.counted], rng, draws)
        return p < max(NULL_P, 1.5 / (draws + 1)), p

    def _fit(self, guess: Tensor, truth: Tensor) -> float:
        """How well guesses fit their truths, higher is better; the permutation test compares this."""
        label = self.floor.label
        if self.goal is not Goal.LABELS:
            return per_target.auc(guess, truth)
        if isinstance(label, int):
            return float(per_target.hits(guess, truth, label).guess.mean())
        if self.task.kind == "mask":
            return float(per_target.overlaps(guess, truth, label).guess.mean())
        return -float(per_target.errors(guess, truth, label).guess.mean())

    def _shape(self) -> tuple[int, ...]:
        n = len(self.targets)
        if self.goal is Goal.INPUTS:
            return tuple(self.targets.x.shape)
        if self.goal is not Goal.LABELS:
            return (n,)
        return (n, self.task.size) if self.task.kind == "classes" else tuple(self.targets.y.shape)
