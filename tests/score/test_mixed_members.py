"""Members and strangers stand in one mixed order: their place tells nothing, and half of them are members."""

from __future__ import annotations

from collections.abc import Callable

import torch

from splitleak.score.per_target import auc
from splitleak.score.scene import Scene


def test_neither_place_nor_batch_tells_a_member(stage: Callable[..., Scene]) -> None:
    attack = {"name": "toy_read_off", "goal": "membership"}
    scenes = [stage(attack=attack, seed=seed, train={"epochs": 1}) for seed in range(4)]
    places = [auc(torch.arange(float(len(scene.member))), scene.member) for scene in scenes]
    assert len({tuple(scene.member.tolist()) for scene in scenes}) == 4
    for scene, place in zip(scenes, places, strict=True):
        assert float(scene.member.mean()) == 0.5
        assert 0.3 < place < 0.7  # of 120 targets, drawn: five deviations around one half
        assert all(0 < float(batch.mean()) < 1 for batch in scene.member.split(16) if len(batch) == 16)
        known = torch.isin(scene.targets.id, scene.data.private.id)
        assert torch.equal(known, scene.member.bool())
