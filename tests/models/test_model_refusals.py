"""What a model does not take is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import splitleak
from splitleak.contract import BadInput, Model, Protocol, Shape, Task
from splitleak.models.ecg_pvc_net import ECGPVCNet
from splitleak.models.lenet import LeNet
from splitleak.models.mlp import MLP
from splitleak.models.resnet18 import ResNet18
from splitleak.models.resnet34 import ResNet34
from splitleak.models.unet import UNet
from splitleak.plan import matrix, plugins

from .splits import CLASSES, MASK, of_toys


@pytest.mark.parametrize(
    ("model", "shape", "task", "told"),
    [
        (ResNet18(), (3, 16, 40), CLASSES, "images of 16x40 are too small .* 17x17 and larger"),
        (ResNet34(), (1, 128), CLASSES, r"records of shape \(1, 128\) .* takes images"),
        (ResNet18(), (3, 32, 32), MASK, "for a mask task; .* for classes or values"),
        (LeNet(), (1, 15, 28), CLASSES, "images of 15x28 are too small .* 16x16 and larger"),
        (LeNet(), (784,), CLASSES, r"records of shape \(784,\) .* takes images"),
        (LeNet(), (1, 28, 28), MASK, "for a mask task; .* for classes or values"),
        (MLP(), (1, 28, 28), MASK, "takes classes or values"),
        (ECGPVCNet(), (1, 5), CLASSES, r"records of shape \(1, 5\) .* takes signals \(channels, 6 samples or more\)"),
        (ECGPVCNet(), (1, 28, 28), CLASSES, "takes signals"),
        (ECGPVCNet(), (1, 185), MASK, "for a mask task; .* for classes or values"),
        (UNet(), (1, 100, 96), MASK, "images of 100x96; 5 levels take multiples of 16"),
        (UNet(3), (1, 6, 6), MASK, "images of 6x6; 3 levels take multiples of 4"),
        (UNet(), (1, 128), MASK, r"records of shape \(1, 128\) .* takes images"),
        (UNet(), (1, 32, 32), CLASSES, "for a classes task; .* for a mask"),
    ],
)
def test_records_that_a_model_does_not_take_are_bad_input(model: Model, shape: Shape, task: Task, told: str) -> None:
    protocol: Protocol = "u_shape" if model.u_shaped else "vanilla"
    with pytest.raises(BadInput, match=f"^model '{model.name}': .*{told}") as error:
        model.split(shape, task, model.cuts(protocol)[0], protocol)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        ({"model": "resnet18", "cut": [9]}, r"'resnet18' cannot be cut at 9 .* 'vanilla' \(legal cuts: 0, 1, .* 8\)"),
        ({"model": "resnet34", "cut": [7], "protocol": ["u_shape"]}, r"at 7 .* 'u_shape' \(legal cuts: 0, .* 6\)"),
        ({"model": "unet", "cut": [5]}, r"'unet' cannot be cut at 5 .* 'u_shape' \(legal cuts: 1, 2, 3, 4\)"),
        ({"model": "unet", "protocol": ["vanilla"]},
         r"'unet' cannot be cut under protocol 'vanilla' \(legal protocols: central, u_shape, fedavg\)"),
        ({"model": {"name": "mlp", "hidden": [[8]]}, "protocol": ["u_shape"]},
         r"cannot be cut under protocol 'u_shape' \(legal protocols: central, vanilla, inference, fedavg\)"),
        ({"model": {"name": "mlp", "hidden": [[0]]}}, "model 'mlp': hidden: 0: must be greater than or equal to 1"),
        ({"model": {"name": "unet", "levels": 1}}, "model 'unet': levels: must be greater than or equal to 2"),
        ({"model": {"name": "lenet", "activation": "elu"}}, "'lenet': activation: must be 'relu', 'sigmoid' or 'tanh'"),
    ],
)  # fmt: skip
def test_a_cut_or_parameter_that_a_model_does_not_have_is_bad_input(axes: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        matrix.read(of_toys(**axes))


def test_resnets_can_be_cut_at_0_from_a_matrix() -> None:
    assert [cell.cut for cell in matrix.read(of_toys("resnet18", cut=[0, 3])).cells] == [0, 3]


def test_hidden_layers_print_as_they_are_written() -> None:
    (cell,) = matrix.read(of_toys({"name": "mlp", "hidden": [[8, 4]]})).cells
    assert plugins.label("model", cell.model, Path.cwd()) == "mlp(hidden=[8, 4])"
    assert hash(plugins.make("model", cell.model, Path.cwd())) == hash(MLP((8, 4)))


@pytest.mark.slow
def test_an_uncut_unet_is_a_cell_of_its_own(tmp_path: Path) -> None:
    small = {"name": "unet", "levels": 2, "width": 4}
    records = splitleak.run(of_toys(small, protocol=["central", "u_shape"]), tmp_path)
    assert [record["status"] for record in records] == ["done", "done"]
    assert records[0]["utility"] == records[1]["utility"]  # the same network, cut or not
    assert records[0]["utility_metric"] == records[1]["utility_metric"]
