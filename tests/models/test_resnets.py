"""ResNets split at every cut equal the unsplit ones of torchvision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from splitleak.contract import BadInput, Protocol, Task
from splitleak.models.resnet18 import ResNet18
from splitleak.models.resnet34 import ResNet34
from splitleak.plan import matrix, plugins
from splitleak.plan.case import Case
from splitleak.train import provenance
from splitleak.vision import torchvision

from .splits import CLASSES, images, made, of_toys, plainly, splitly

RESNETS = {"resnet18": ResNet18, "resnet34": ResNet34}


CUTS = [(cut, protocol) for protocol, last in (("vanilla", 8), ("u_shape", 6)) for cut in range(last + 1)]


def test_both_resnets_can_be_cut_after_any_child_but_fc() -> None:
    for model in RESNETS.values():
        assert [(cut, p) for p in ("vanilla", "u_shape") for cut in sorted(model().cuts(p))] == CUTS


def torchvisions_own(name: str, channels: int) -> nn.Module:
    """Uncut, its ReLUs in place, and with the weights that our plug-in starts from."""
    network: nn.Module = getattr(torchvision.models, name)(num_classes=3)
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    split = made(RESNETS[name](), 3, "vanilla", (channels, 32, 32), CLASSES)
    ours = [*split.bottom.state_dict().values(), *split.top.state_dict().values()]
    with torch.no_grad():
        for t, our in zip(network.state_dict().values(), ours, strict=True):
            t.copy_(our)
    return network


def resnet_equals_torchvisions_own(name: str, channels: int, cuts: list[tuple[int, Protocol]]) -> None:
    shape = (channels, 32, 32)
    network = torchvisions_own(name, channels)
    start = [t.clone() for t in network.parameters()]
    wanted = plainly(network, images(shape), CLASSES)
    assert not any(torch.equal(a, b) for a, b in zip(start, network.parameters(), strict=True))  # all have moved
    for cut, protocol in cuts:
        split = made(RESNETS[name](), cut, protocol, shape, CLASSES)
        assert splitly(split, images(shape), CLASSES).same(wanted), f"cut {cut}, {protocol}"


@pytest.mark.slow
def test_resnet18_split_before_and_behind_the_relu_in_place_equals_unsplit() -> None:
    resnet_equals_torchvisions_own("resnet18", 1, [(1, "vanilla"), (2, "u_shape"), (4, "vanilla")])


@pytest.mark.slow
@pytest.mark.parametrize("name", RESNETS)
def test_resnet_split_at_every_cut_equals_unsplit(name: str) -> None:
    resnet_equals_torchvisions_own(name, 3, CUTS)


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_resnets_server_leaves_what_it_is_shown_as_it_was(cut: int) -> None:
    split = made(ResNet18(), cut, "vanilla", (1, 28, 28), CLASSES).eval()
    z = torch.randn(2, *split.shapes((1, 28, 28))[0], requires_grad=True)
    before = z.detach().clone()
    split.top(z).sum().backward()  # an attacker's leaf: in place it could not even be used
    assert torch.equal(z, before)
    assert z.grad is not None


@pytest.mark.parametrize("size", [(17, 17), (28, 28), (32, 64), (96, 96)])
def test_a_resnet_takes_images_of_any_size_from_17(size: tuple[int, int]) -> None:
    split = made(ResNet18(), 3, "vanilla", (2, *size), Task("value", 4))
    assert split.train()(torch.rand(2, 2, *size)).shape == (2, 4)
    assert split.shapes((2, *size))[0] == (64, -(-size[0] // 4), -(-size[1] // 4))


def test_weights_from_a_file_are_those_of_the_network_but_for_another_tasks_fc(tmp_path: Path) -> None:
    source = torchvision.models.resnet18(num_classes=7)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    given = list(source.state_dict().values())
    for classes in (7, 3):
        split = made(ResNet18(str(tmp_path / "w.safetensors")), 3, "vanilla", (3, 32, 32), Task("classes", classes))
        ours = [*split.bottom.state_dict().values(), *split.top.state_dict().values()]
        assert all(torch.equal(a, b) for a, b in zip(ours[:-2], given[:-2], strict=True))
        assert ours[-1].shape == (classes,)
        assert (classes == 7) is (ours[-2].shape == given[-2].shape and torch.equal(ours[-2], given[-2]))


def test_a_weights_file_lies_in_the_folder_of_the_matrix_and_is_one_of_the_sources(tmp_path: Path) -> None:
    model = plugins.make("model", {"name": "resnet18", "weights": "w.safetensors"}, tmp_path)
    assert isinstance(model, ResNet18)
    assert model.sources() == ResNet18().sources() == []
    with pytest.raises(BadInput, match=rf"^model 'resnet18': weights '{tmp_path}/w\.safetensors': no such file$"):
        made(model, 3, "vanilla", (3, 32, 32), CLASSES)
    source = torchvision.models.resnet18(num_classes=3)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    assert model.sources() == [tmp_path / "w.safetensors"]
    split = made(model, 3, "vanilla", (3, 32, 32), CLASSES)
    assert torch.equal(next(split.parameters()), source.conv1.weight)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("layer1.0.conv1.weight"), "no 'layer1.0.conv1.weight' in it"),
        (lambda state: state.update(head=torch.zeros(2)), "'head' is no tensor of this network"),
        (lambda state: state["bn1.bias"].fill_(torch.nan), "'bn1.bias' holds a number that is not finite"),
        (lambda state: state.update({"conv1.weight": torch.zeros(64, 1, 7, 7)}),
         r"'conv1.weight' is \(64, 1, 7, 7\), for these records it must be \(64, 3, 7, 7\)"),
    ],
)  # fmt: skip
def test_a_file_of_other_weights_is_bad_input(tmp_path: Path, change: Callable[[Any], Any], told: str) -> None:
    state = torchvision.models.resnet18(num_classes=3).state_dict()
    change(state)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(BadInput, match=rf"^model 'resnet18': weights '.*w\.safetensors': {told}$"):
        made(ResNet18(str(tmp_path / "w.safetensors")), 3, "vanilla", (3, 32, 32), CLASSES)


def test_a_file_that_holds_no_weights_is_bad_input(tmp_path: Path) -> None:
    torch.save({"fc.bias": torch.zeros(3)}, tmp_path / "w.pth")
    readable = r"no readable safetensors file \(.*\); .* safetensors.torch.save_file"
    for name, told in (("w.pth", readable), ("none", "no such file"), ("", "no readable safetensors file")):
        with pytest.raises(BadInput, match=f"^model 'resnet34': weights '.*{name}': {told}"):
            made(ResNet34(str(tmp_path / name)), 3, "vanilla", (3, 32, 32), CLASSES)


def test_a_victim_is_trained_again_when_its_weights_file_is_another(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    (cell,) = matrix.read(of_toys({"name": "resnet18", "weights": str(file)})).cells
    made_by = []
    for content in (b"one", b"one", b"two"):
        file.write_bytes(content)
        made_by.append(provenance.made_by(Case.of(cell, Path.cwd()), "records", "cpu", provenance.__file__))
    assert made_by[0] == made_by[1] != made_by[2]
