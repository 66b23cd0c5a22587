"""Levels to read a score against: what retrieval reaches, what empty guesses re-identify, what raw records tell.

None depends on the attack or on what crossed the channel. Where a guess is a set, the records of strangers and noise
are matched with the truth as the guess is: the matching alone makes many of them the nearest to "their" record.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean

import numpy as np
import torch
from torch import Tensor

from splitleak.contract import Goal, Grant, Records
from splitleak.pieces import blind_guess
from splitleak.pieces.components import best_map, leading, whitened
from splitleak.pieces.distances import nearest
from splitleak.pieces.pairs import linkage_auc
from splitleak.pieces.probe import raw_probe
from splitleak.plan.seeds import Stream
from splitleak.score.per_target import auc, errors
from splitleak.score.question import OF_PEOPLE, Question
from splitleak.score.scene import Scene
from splitleak.score.similarity import reid_top1

DRAWS, NOISES = 10, 3  # how often strangers, and each kind of noise, are drawn
LOUD = 3  # deviations of white noise: loud noise is matched best


def beside(scene: Scene) -> dict[str, float]:
    """The levels of a scene by their names in the record; none of labels and membership."""
    if scene.goal in OF_PEOPLE:
        return {} if scene.cell.attack["name"] == "blind" else raw(scene)
    if scene.goal is not Goal.INPUTS:
        return {}
    question, others = scene.question, scene.others.x
    strangers = reid_strangers(question, others, scene.case.seeds.of("strangers"))
    noise = reid_noise(question, others, scene.case.seeds.of("noise"))
    chance = max(strangers, noise, reid_top1(question.floor.guess, question.truth))
    found = {"reid_strangers": strangers, "reid_chance": chance}
    if scene.data.task.kind == "classes":
        found["class_mean"] = class_mean(question, scene.others)
    if Grant.AUX in scene.grants:
        found["nearest_aux"] = nearest_aux(question, scene.aux.x)
    return found


def raw(scene: Scene) -> dict[str, float]:
    """`auc_raw`: what the records themselves tell about people, by the means of the attacks and the same aux records.

    No channel tells more to the same means; it is no bound for all means. Empty where the aux records lack the answers.
    """
    question, aux = scene.question, scene.aux
    x, truth = scene.targets.x.cpu(), question.truth
    with Stream(scene.case.seeds.of("raw")):
        if scene.goal is Goal.LINKAGE:
            return {"auc_raw": max(linkage_auc(each, truth) for each in embeddings(x, aux))}
        if aux.property is None:
            return {}
        person = None if aux.group is None else aux.group.cpu()
        return {"auc_raw": auc(raw_probe(aux.x.cpu(), aux.property.cpu(), person, x), truth)}


def embeddings(x: Tensor, aux: Records) -> Iterator[Tensor]:
    """Records (N, *in) embedded as `linkage` embeds messages: by their own covariance, or as aux people teach."""
    own = leading(x)(x)
    yield own @ whitened(own, 1.0)
    if aux.group is not None and len(aux.group.unique()) > 1:
        project = leading(aux.x.cpu())
        yield (project(x) - project(x).mean(0)) @ best_map(project(aux.x.cpu()), aux.group.cpu())


def class_mean(question: Question, others: Records) -> float:
    """The advantage of the mean of the others' records of the true class of each target: who knows the class has it."""
    x, y, labels = others.x.cpu().double(), others.y.cpu(), question.targets.y.cpu()
    best = blind_guess.class_means(x, y, labels, question.task.size)
    return errors(best, question.truth, question.floor.guess).advantage()


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
