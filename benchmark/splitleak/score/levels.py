"""Levels to read reconstructed records against: what retrieval reaches, and what empty guesses re-identify.

None depends on the attack or on what crossed the channel. Where a guess is a set, the records of strangers and noise
are matched with the truth as the guess is: the matching alone makes many of them the nearest to "their" record.
"""

from __future__ import annotations

from statistics import mean

import numpy as np
import torch
from torch import Tensor

from splitleak.contract import Goal, Grant
from splitleak.pieces import blind_guess
from splitleak.pieces.distances import nearest
from splitleak.score.per_target import errors
from splitleak.score.question import Question
from splitleak.score.scene import Scene
from splitleak.score.similarity import reid_top1

DRAWS, NOISES = 10, 3  # how often strangers, and each kind of noise, are drawn
LOUD = 3  # deviations of white noise: loud noise is matched best


def beside(scene: Scene) -> dict[str, float]:
    """The levels of a scene whose attack guesses records, by their names in the record; else none."""
    if scene.goal is not Goal.INPUTS:
        return {}
    question, others = scene.question, scene.others.x
    strangers = reid_strangers(question, others, scene.case.seeds.of("strangers"))
    noise = reid_noise(question, others, scene.case.seeds.of("noise"))
    chance = max(strangers, noise, reid_top1(question.floor.guess, question.truth))
    found = {"reid_strangers": strangers, "reid_chance": chance}
    if Grant.AUX in scene.grants:
        found["nearest_aux"] = nearest_aux(question, scene.aux.x)
    return found


def nearest_aux(question: Question, aux: Tensor) -> float:
    """The advantage of the best retrieval: for each target the record of aux (M, *in) that is nearest to the truth."""
    best = aux.cpu()[nearest(question.truth, aux)]
    return errors(best, question.truth, question.floor.guess).advantage()


def reid_strangers(question: Question, others: Tensor, seed: int) -> float:
    """The share of others' records (M, *in) that are "re-identified": drawn blindly, matched as a guess is."""
    generator = np.random.default_rng(seed)
    return mean(reid_top1(question.drawn(others, generator), question.truth) for _ in range(DRAWS))


def reid_noise(question: Question, others: Tensor, seed: int) -> float:
    """The same of noise around the mean of others (M, *in): white, or with their covariance, whichever is more."""
    generator = torch.Generator().manual_seed(seed % 2**62)
    n, some = len(question.truth), blind_guess.thinned(others).double()
    middle, loud = some.mean(0), LOUD * (some - some.mean(0)).square().mean().sqrt()

    def white() -> Tensor:
        return middle + loud * torch.randn(question.truth.shape, generator=generator).double()

    def alike() -> Tensor:
        return blind_guess.noise_like(some, n, generator)

    def share(guess: Tensor) -> float:
        return reid_top1(question.placed(guess.clamp(*question.in_range)), question.truth)

    return max(mean(share(noise()) for _ in range(NOISES)) for noise in (white, alike))
