"""The image models: cut anywhere they train to the bits of the same network uncut, and say what they do not take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import save_file
from torch import Tensor, nn

import splitleak
from splitleak.contract import BadInput, Grant, Hooks, Model, Protocol, Records, Shape, Split, Task
from splitleak.models.ecg_pvc_net import ECGPVCNet
from splitleak.models.lenet import LeNet
from splitleak.models.mlp import MLP
from splitleak.models.resnet18 import ResNet18
from splitleak.models.resnet34 import ResNet34
from splitleak.models.unet import UNet
from splitleak.plan import matrix, plugins
from splitleak.plan.case import Case
from splitleak.plan.settings import Clients, Train
from splitleak.train import provenance
from splitleak.train.data import load_data
from splitleak.train.loop import Training
from splitleak.vision import torchvision

SEED, BATCH, LR = 5, 4, 1e-3
CLASSES, MASK = Task("classes", 3), Task("mask", 1)
RESNETS = {"resnet18": ResNet18, "resnet34": ResNet34}
CUTS = [(cut, protocol) for protocol, last in (("vanilla", 8), ("u_shape", 6)) for cut in range(last + 1)]


def images(shape: Shape = (3, 32, 32), task: Task = CLASSES) -> Records:
    """Three batches."""
    generator, n = torch.Generator().manual_seed(3), 3 * BATCH
    x = torch.rand(n, *shape, generator=generator)
    y = (x.mean(1, keepdim=True) > 0.5).float() if task.kind == "mask" else torch.arange(n) % task.size
    return Records(x, y, torch.arange(n))


@dataclass(frozen=True)
class Trained:
    """Weights, buffers and the last step's gradients, in the order of the network."""

    tensors: list[Tensor]
    gradients: list[Tensor]

    def same(self, other: Trained) -> bool:
        pairs = zip([*self.tensors, *self.gradients], [*other.tensors, *other.gradients], strict=True)
        return all(torch.equal(a, b) for a, b in pairs)


def left_in(*parts: nn.Module | None) -> Trained:
    there = [part for part in parts if part is not None]
    gradients = [p.grad for part in there for p in part.parameters()]
    assert all(g is not None for g in gradients)
    return Trained([t for part in there for t in part.state_dict().values()], [g for g in gradients if g is not None])


def plainly(network: nn.Module, records: Records, task: Task) -> Trained:
    """Three steps of the loop of every tutorial: nothing in it knows of a cut."""
    optimizer, order = torch.optim.Adam(network.parameters(), LR, fused=True), torch.Generator().manual_seed(SEED)
    network.train()
    for index in torch.randperm(len(records), generator=order).split(BATCH):
        optimizer.zero_grad()
        task.loss(network(records.x[index]), records.y[index]).backward()
        optimizer.step()
    return left_in(network)


def splitly(split: Split, records: Records, task: Task) -> Trained:
    """The same three steps over the wire."""
    training = Training(split, records, task, Hooks(), Train(1, BATCH, LR), Clients(), SEED)
    for _ in training.steps(Grant(0), set()):
        pass
    return left_in(split.bottom, split.top, split.head)


def made(model: Model, cut: int, protocol: Protocol, shape: Shape, task: Task) -> Split:
    torch.manual_seed(1)
    return model.split(shape, task, cut, protocol)


# ResNets ------------------------------------------------------------------------------------------


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
    data = load_data(Case.of(cell, Path.cwd()), torch.device("cpu"))
    made_by = []
    for content in (b"one", b"one", b"two"):
        file.write_bytes(content)
        made_by.append(provenance.made_by(Case.of(cell, Path.cwd()), data, provenance.__file__))
    assert made_by[0] == made_by[1] != made_by[2]


# U-Net --------------------------------------------------------------------------------------------


class WholeUNet(nn.Module):
    """As in a textbook, and of its own making but for its first weights: nothing in it can be cut."""

    def __init__(self, channels: int, levels: int, width: int) -> None:
        super().__init__()
        wide = [width * 2**i for i in range(levels)]
        self.down = nn.ModuleList(self.twice(i, o) for i, o in zip([channels, *wide], wide, strict=False))
        turns = list(zip(wide[:0:-1], wide[-2::-1], strict=True))
        self.up = nn.ModuleList(
            nn.ModuleList([nn.ConvTranspose2d(i, o, 2, stride=2), self.twice(i, o)]) for i, o in turns
        )
        self.last = nn.Conv2d(width, 1, 1)

    @staticmethod
    def twice(i: int, o: int) -> nn.Module:
        first = nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()
        return nn.Sequential(*first, nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level in self.down:
            x = level(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        skips.pop()
        for grow, level in self.up:
            x = level(torch.cat([skips.pop(), grow(x)], dim=1))
        return self.last(x)


def whole_unet(model: UNet, channels: int = 1) -> WholeUNet:
    torch.manual_seed(1)
    return WholeUNet(channels, model.levels, model.width)


@pytest.mark.parametrize("model", [UNet(5, 4), UNet(3, 8), UNet(2, 4)], ids=str)
def test_unet_split_at_every_cut_equals_unsplit(model: UNet) -> None:
    records = images((1, 32, 48), MASK)
    network = whole_unet(model)
    start = [t.clone() for t in network.parameters()]
    wanted = plainly(network, records, MASK)
    assert not any(torch.equal(a, b) for a, b in zip(start, network.parameters(), strict=True))
    assert sorted(model.cuts("u_shape")) == list(range(1, model.levels))
    for cut in model.cuts("u_shape"):
        split = made(model, cut, "u_shape", (1, 32, 48), MASK)
        assert len(split.bottom(records.x)[1]) == cut  # a skip stays for each level of the client
        split = made(model, cut, "u_shape", (1, 32, 48), MASK)
        assert splitly(split, records, MASK).same(wanted), f"cut {cut}"


class Forgetful(nn.Module):
    """A bottom whose skips take no gradient back: the published defect."""

    def __init__(self, bottom: nn.Module) -> None:
        super().__init__()
        self.bottom = bottom

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        z, kept = self.bottom(x)
        return z, tuple(k.detach() for k in kept)


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_unet_without_the_gradients_of_its_skips_is_another_one(cut: int) -> None:
    records = images((1, 32, 32), MASK)
    model = UNet(5, 4)
    wanted = plainly(whole_unet(model), records, MASK)
    split = made(model, cut, "u_shape", (1, 32, 32), MASK)
    split.bottom = Forgetful(split.bottom)
    assert not splitly(split, records, MASK).same(wanted)


def test_a_unet_sends_and_receives_one_level_below_its_own() -> None:
    for cut in (1, 2, 3, 4):
        here = 64 // 2**cut
        split = made(UNet(5, 2), cut, "u_shape", (3, 64, 64), MASK)
        assert split.shapes((3, 64, 64)) == ((2**cut, here, here), (2 ** (cut + 1), here, here))
        assert split(torch.rand(2, 3, 64, 64)).shape == (2, 1, 64, 64)


def test_the_published_unet_has_31_million_weights() -> None:
    """64-128-256-512-1024: 31,037,633 of RGB images, as its well-known PyTorch version counts."""
    with torch.device("meta"):
        network = UNet().split((3, 64, 64), MASK, 2, "u_shape")
    assert sum(p.numel() for p in network.parameters()) == 31_037_633


# LeNet and perceptrons ----------------------------------------------------------------------------

SMALL = [
    (LeNet(), (1, 28, 28), CLASSES), (LeNet("sigmoid"), (3, 16, 20), Task("value", 2)), (MLP(), (1, 8, 8), CLASSES),
    (MLP((32, 24, 16)), (13,), Task("value", 1)), (MLP((8,)), (2, 40), CLASSES),
    (ECGPVCNet(), (1, 185), CLASSES), (ECGPVCNet(), (2, 6), Task("value", 2)),
]  # fmt: skip


@pytest.mark.parametrize(("model", "shape", "task"), SMALL, ids=lambda given: str(given))
def test_lenet_and_mlp_split_at_every_cut_equal_unsplit(model: Model, shape: Shape, task: Task) -> None:
    n = 3 * BATCH
    y = torch.arange(n) % task.size if task.kind == "classes" else torch.rand(n, task.size)
    records = Records(torch.rand(n, *shape), y, torch.arange(n))
    torch.manual_seed(1)
    blocks = model.blocks(shape, task)
    wanted = plainly(nn.Sequential(*blocks), records, task)
    protocols: tuple[Protocol, ...] = ("vanilla", "u_shape")
    tried = [(cut, protocol) for protocol in protocols for cut in model.cuts(protocol)]
    assert len(tried) == 2 * len(blocks) - 3  # after each block but the last; a u-shape's server keeps one
    for cut, protocol in tried:
        split = made(model, cut, protocol, shape, task)
        assert list(split.top.parameters())
        assert splitly(split, records, task).same(wanted), f"cut {cut}, {protocol}"


def test_lenet_is_the_published_one() -> None:
    shapes = [made(LeNet(), cut, "vanilla", (1, 28, 28), Task("classes", 10)).shapes((1, 28, 28))[0] for cut in
              (1, 2, 3, 4)]  # fmt: skip
    assert shapes == [(8, 12, 12), (16, 4, 4), (120,), (84,)]


def test_ecg_pvc_net_is_the_published_one() -> None:
    shapes = [made(ECGPVCNet(), cut, "vanilla", (1, 185), Task("classes", 2)).shapes((1, 185))[0] for cut in (1, 2)]
    assert shapes == [(16, 90), (128,)]
    network = ECGPVCNet().split((1, 185), Task("classes", 2), 1, "u_shape")
    assert sum(p.numel() for p in network.parameters()) == (5 + 1) * 16 + (16 * 90 + 1) * 128 + (128 + 1) * 2


# What they do not take ----------------------------------------------------------------------------


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


def of_toys(model: Any, **axes: Any) -> dict[str, Any]:
    toys = str(Path(__file__).parents[1] / "toys" / "toy_images.py")
    return {"matrix": {"dataset": [toys], "model": [model]} | axes, "train": {"epochs": 1, "batch_size": 12}}


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        ({"model": "resnet18", "cut": [9]}, r"'resnet18' cannot be cut at 9 .* 'vanilla' \(legal cuts: 0, 1, .* 8\)"),
        ({"model": "resnet34", "cut": [7], "protocol": ["u_shape"]}, r"at 7 .* 'u_shape' \(legal cuts: 0, .* 6\)"),
        ({"model": "unet", "cut": [5]}, r"'unet' cannot be cut at 5 .* 'u_shape' \(legal cuts: 1, 2, 3, 4\)"),
        ({"model": "unet", "protocol": ["vanilla"]},
         r"'unet' cannot be cut under protocol 'vanilla' \(legal protocols: central, u_shape, fedavg\)"),
        ({"model": {"name": "mlp", "hidden": [[8]]}, "protocol": ["u_shape"]},
         r"'mlp\(hidden=\[8\]\)' cannot be cut under protocol 'u_shape' \(legal protocols: central, vanilla, fedavg\)"),
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


def test_an_uncut_unet_is_a_cell_of_its_own(tmp_path: Path) -> None:
    small = {"name": "unet", "levels": 2, "width": 4}
    records = splitleak.run(of_toys(small, protocol=["central", "u_shape"]), tmp_path)
    assert [record["status"] for record in records] == ["done", "done"]
    assert records[0]["utility"] == records[1]["utility"]  # the same network, cut or not
    assert records[0]["utility_metric"] == records[1]["utility_metric"]
