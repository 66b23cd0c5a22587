"""torchvision can be used whatever build of torch it finds."""

from __future__ import annotations

import torch


def test_torchvision_imports_and_a_resnet_runs_beside_the_cpu_build() -> None:
    from splitleak.vision import torchvision

    network = torchvision.models.resnet18(num_classes=3).eval()
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
