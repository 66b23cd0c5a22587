"""SDAR, where it is known what there is to find: its discriminators fix the coordinates, and noise tells it nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from splitleak.attacks.sdar import Labelled, Sdar, Simulator
from splitleak.contract import Grant
from splitleak.contract.threats import objection
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

from .test_attacks_fora import BEATS, make_unaware
from .test_attacks_inputs import FLAT, advantage

Stage = Callable[..., Scene]
AUX = Grant.AUX | Grant.AUX_LABELS
SHORT = {"name": "sdar", "tail": 500, "width": 16, "every": 1}
NOISE = {"name": "laplace_range", "epsilon": 5.0}


@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
def test_an_honest_server_with_labelled_records_can_do_it(protocol: str) -> None:
    assert objection("honest_server", protocol, Sdar.goal, Sdar().needs, AUX) is None
    assert "TOP" in (objection("eavesdropper", protocol, Sdar.goal, Sdar().needs, AUX) or "")


def test_a_simulator_of_its_own_needs_no_architecture() -> None:
    assert not Sdar(copy=False).needs & Grant.ARCHITECTURE


@pytest.mark.slow
def test_a_client_that_changes_nothing_leaks(stage: Stage) -> None:
    scene = stage(**FLAT, attack={"name": "sdar", "tail": 600, "width": 16}, evaluate={"targets": 100})
    assert advantage(scene) > 0.9


@pytest.mark.parametrize(("protocol", "reads"), [("vanilla", True), ("u_shape", False)])
def test_labels_are_read_where_they_cross_the_wire(stage: Stage, protocol: str, reads: bool) -> None:
    attempt = Attempt(stage(attack={"name": "sdar", "tail": 2, "width": 4}, protocol=protocol, cut=2))
    attempt.run()
    assert ({"labels", "step.labels"} <= set(attempt.view.has_read)) is reads


@pytest.mark.parametrize("dataset", ["toy_images", {"name": "toy_flat", "task": "value"}], ids=["masks", "values"])
@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
@pytest.mark.parametrize("copy", [True, False])
def test_other_tasks_and_a_u_shape_are_attacked_alike(stage: Stage, dataset: Any, protocol: str, copy: bool) -> None:
    attack = {"name": "sdar", "tail": 2, "width": 4, "copy": copy}
    scene = stage(attack=attack, dataset=dataset, protocol=protocol, cut=2, evaluate={"targets": 20})
    assert Attempt(scene).run()[0].shape == scene.targets.x.shape


@pytest.mark.parametrize("shape", [(6,), (2, 8), (2, 4, 4)])
def test_a_label_is_one_more_channel(shape: tuple[int, ...]) -> None:
    given: list[tuple[int, ...]] = []

    def make(wide: tuple[int, ...]) -> nn.Module:
        given.append(wide)
        return nn.Identity()

    x, y = torch.randn(3, *shape), torch.tensor([0, 1, 1])
    told = Labelled(shape, 2, make)(x, y)  # (3, *wide)
    assert tuple(told.shape[1:]) == given[0] == ((12,) if len(shape) == 1 else (3, *shape[1:]))
    assert torch.equal(told[:, : shape[0]], x)
    label = told[:, shape[0] :]
    torch.testing.assert_close(label[1], label[2])
    assert not torch.allclose(label[0], label[1])
    assert torch.equal(Labelled(shape, 0, make)(x), x)


@pytest.mark.slow
def test_the_discriminators_fix_what_the_task_leaves_open_and_empty_messages_tell_nothing(stage: Stage) -> None:
    scene = stage(**BEATS | {"attack": SHORT})
    found = advantage(scene)
    assert found > 0.5
    assert advantage(scene, null=True) <= 0.02
    assert advantage(stage(**BEATS | {"attack": SHORT | {"l1": 0.0, "l2": 0.0}})) < found - 0.2


@pytest.mark.slow
def test_the_simulator_sends_through_the_defence(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(**BEATS | {"attack": SHORT}, defense=NOISE)
    aware = advantage(scene)
    make_unaware(monkeypatch, Simulator)
    assert aware > 0.4
    assert advantage(scene) < aware - 0.15
