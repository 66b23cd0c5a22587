"""Least squares (after Hoerl & Kennard 1970): invert the client by the linear map that fits its answers best.

The attacker sends auxiliary records x (M, *in) through the client and its defence, and fits x = z W + b to the replies
z (M, *cut) by ridge regression. Generalised cross-validation chooses the penalty. The guess for messages z (N, *cut) is
z W + b, (N, *in). It takes a second, and how much of a record it gets is the share of the variance that is linear in
the message: what no network is needed to read.

Sources: Hoerl, Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", Technometrics 12 (1970);
Golub, Heath, Wahba, "Generalized Cross-Validation as a Method for Choosing a Good Ridge Parameter", Technometrics 21
(1979), equation 1.4. No paper on split learning uses it, to our knowledge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View

PENALTIES = torch.logspace(-10, 4, 57, dtype=torch.float64)  # as shares of the messages' mean variance


@dataclass(frozen=True)
class LeastSquares(Attack):
    goal = Goal.INPUTS
    needs = Grant.QUERY | Grant.AUX | Grant.SMASHED

    most: Annotated[int, Field(ge=2)] = 2000  # auxiliary records that are used: the time grows with their cube

    def run(self, view: View) -> Tensor:
        aux = view.aux[: self.most]
        z, x = view.query(aux).flatten(1).double(), aux.flatten(1).double()  # (M, D), (M, in)
        unit = (z.std(0, correction=0).square().mean().sqrt() + 1e-30) * z.shape[1] ** 0.5
        z, new, mean = (z - z.mean(0)) / unit, (view.smashed.flatten(1).double() - z.mean(0)) / unit, x.mean(0)
        values, u = torch.linalg.eigh(z @ z.T)  # in M dimensions: there may be many more activations than records
        values, part = values.clamp(min=0), u.T @ (x - mean)  # (M,), (M, in)
        penalty = chosen_penalty(values, part.square().sum(1))
        weights = u @ (part / (values + penalty)[:, None])  # (M, in)
        guess: Tensor = new @ (z.T @ weights) + mean
        return guess.view(-1, *view.in_shape).clamp(*view.in_range)


def chosen_penalty(values: Tensor, energy: Tensor) -> Tensor:
    """The penalty with the least generalised cross-validation: squared residuals over squared degrees of freedom.

    values (M,): eigenvalues of the Gram matrix of the inputs; energy (M,): of the outputs in each direction.
    """
    penalties = PENALTIES.to(values.device) * values.sum() / len(values) + 1e-30
    left = penalties[:, None] / (values + penalties[:, None])  # (P, M): what is not fitted in each direction
    free = (left.sum(1) - 1).clamp(min=1e-9)  # the mean is fitted too
    return penalties[(left.square() @ energy / free.square()).argmin()]
