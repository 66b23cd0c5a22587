"""How sure a score is: bootstrap intervals over targets, and permutation tests."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from splitleak.contract import BadGuess, BadInput
from splitleak.score.per_target import NOTHING, PerTarget
from splitleak.score.similarity import plain


def bootstrap_ci(per: PerTarget, generator: np.random.Generator, resamples: int = 1000) -> float:
    """Half the width of the 95 % bootstrap interval of the advantage, over resamples of the N targets.

    Resamples in which the floor is perfect have no advantage and are left out.
    """
    n = len(per.guess)
    if n < 2:
        raise BadInput("a bootstrap interval needs at least 2 targets")
    index = generator.integers(n, size=(resamples, n), dtype=np.int32)
    guesses = per.guess.numpy()[index].mean(1)
    floor = per.floor.numpy()[index].mean(1)
    good = floor != per.best
    if not good.any():
        raise BadInput(NOTHING)
    low, high = np.quantile(1 - (per.best - guesses[good]) / (per.best - floor[good]), (0.025, 0.975))
    return float(high - low) / 2


def permutation_p(
    score: Callable[[Tensor, Tensor], float],
    guess: Tensor,
    truth: Tensor,
    generator: np.random.Generator,
    n: int = 999,
    unit: Tensor | None = None,
) -> float:
    """The p of a permutation test: (1 + count) / (1 + n); `count` of n permutations of the targets score as high.

    unit (N,), numbered from 0: targets of one unit have one truth, and units are permuted in place of targets.
    """
    guess, truth = plain(guess), plain(truth)
    real = float(score(guess, truth)) - 1e-12  # sums in another order differ in the last digit
    if not math.isfinite(real):
        raise BadGuess("the score is not a finite number")
    if unit is None:
        unit, of_unit = torch.arange(len(truth)), truth
    else:
        of_unit = truth[[int((unit == i).nonzero()[0, 0]) for i in range(int(unit.max()) + 1)]]
    permutations = (torch.from_numpy(generator.permutation(len(of_unit))) for _ in range(n))
    return (1 + sum(float(score(guess, of_unit[order][unit])) >= real for order in permutations)) / (1 + n)
