"""The best order of guesses that are sets: records that were sent together have no order (Kuhn 1955)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def matched(guess: Tensor, sets: Tensor, cost: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The guess (N, ...), its members in the order of least cost within each of the sets (N,).

    cost: a guess's members and their positions -> (truths, guesses) what each pair costs.
    """
    found = guess.clone()
    for members in (torch.nonzero(sets == number).flatten() for number in range(int(sets.max()) + 1)):
        guessed = guess[members]
        found[members] = guessed[torch.from_numpy(linear_sum_assignment(cost(guessed, members).numpy())[1])]
    return found


def matched_records(guess: Tensor, truth: Tensor, sets: Tensor) -> Tensor:
    """Records in the order of least squared error."""

    def cost(guessed: Tensor, members: Tensor) -> Tensor:
        return torch.cdist(truth[members].flatten(1), guessed.flatten(1)).square()

    return matched(guess, sets, cost)


def matched_labels(scores: Tensor, labels: Tensor, sets: Tensor) -> Tensor:
    """Scores of classes (N, K) in the order of the best likelihood."""
    return matched(scores, sets, lambda guessed, members: -guessed.log_softmax(1)[:, labels[members]].T)
