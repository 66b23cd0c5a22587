"""`gradient_inversion` makes its tensors where the network is. The device `meta` stands for a GPU: nothing mixes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from splitleak.attacks.gradient_inversion import GradientInversion
from splitleak.contract import Task, Update

FACTORIES = (torch.full, torch.rand, torch.randn, torch.zeros, torch.ones, torch.arange, torch.tensor, torch.empty)


class Homeless(TorchFunctionMode):
    """The lines of the attack that make a tensor without saying on which device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        frame = sys._getframe(1)
        if func in FACTORIES and "device" not in (kwargs or {}) and Path(frame.f_code.co_filename).stem == ATTACK:
            self.found.append(frame.f_lineno)
        return func(*args, **(kwargs or {}))


ATTACK = "gradient_inversion"


def view(task: Task, device: str) -> Any:
    """One update of three records, which crossed on the CPU, and a network on another device."""
    torch.manual_seed(0)

    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, task.size))

    before = network().state_dict()
    after = {name: t + 0.01 * torch.randn_like(t) if t.is_floating_point() else t for name, t in before.items()}
    sent = [{k: t for k, t in weights.items() if t.is_floating_point()} for weights in (before, after)]
    update = Update(0, 0, 3, *sent, 0.1, 1, 3, "sgd", torch.tensor([1, 0]))
    return SimpleNamespace(
        updates=[update], targets=4, in_shape=(5,), in_range=(0.0, 1.0), task=task, classes=task.size,
        fresh_model=lambda: network().to(device),
    )  # fmt: skip


def test_the_guess_is_on_the_device_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    item = Tensor.item
    monkeypatch.setattr(Tensor, "item", lambda t: 0.5 if t.is_meta else item(t))  # the cost, which meta does not know
    guess = GradientInversion(iterations=2).run(view(Task("value", 2), "meta"))
    assert (guess.device.type, guess.shape) == ("meta", (4, 5))


@pytest.mark.parametrize("task", [Task("classes", 3), Task("value", 2)])
def test_no_tensor_is_made_on_the_cpu_by_default(task: Task) -> None:
    with Homeless() as watch:
        guess = GradientInversion(iterations=2).run(view(task, "cpu"))
    assert watch.found == []
    assert guess[2:].eq(0.5).all()
    assert not guess[:2].eq(0.5).any()
