"""Networks that papers attack: their sizes and shapes, and that every cut is a place in the same network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from splitleak.contract import BadInput, Model, Shape, Task
from splitleak.models.fsha_resnet import FSHAResNet
from splitleak.models.he_cnn import HeCNN
from splitleak.models.lenet import LeNet
from splitleak.models.resnet20 import ResNet20
from splitleak.models.vgg import VGG

from .splits import made

TEN, COLOUR, GREY = Task("classes", 10), (3, 32, 32), (1, 28, 28)
# each weight of each layer, counted by hand
SIZES = {
    HeCNN(): 2048 * 512 + 512 + 5130 + 1792 + 36928 + 73856 + 3 * 147584,
    VGG(): 14_714_688 + 2 * 4224 + 5130,
    ResNet20(): 432 + 14016 + 14528 + 37120 + 57728 + 147968 + 650,
    FSHAResNet(): 1792 + 128 + 73856 + (73856 + 147584 + 73856) + 295168 + (295168 + 590080 + 295168) + 2570,
}
PLACES: list[tuple[Model, Shape, dict[int, Shape]]] = [
    (HeCNN(), COLOUR, {1: (64, 32, 32), 9: (128, 16, 16), 14: (128, 8, 8), 16: (512,)}),
    (VGG(), COLOUR, {1: (64, 32, 32), 2: (64, 16, 16), 4: (128, 8, 8), 13: (512, 1, 1)}),
    (ResNet20(), COLOUR, {3: (16, 32, 32), 4: (32, 16, 16), 7: (64, 8, 8), 9: (64, 8, 8)}),
    (FSHAResNet(), (1, 32, 32), {1: (64, 16, 16), 2: (128, 8, 8), 3: (128, 8, 8), 4: (256, 4, 4)}),
    (LeNet(fine=True), GREY, {1: (8, 24, 24), 5: (16, 8, 8), 6: (16, 4, 4), 7: (256,), 11: (84,)}),
]


@pytest.mark.parametrize("model", SIZES, ids=str)
def test_a_published_network_has_as_many_weights_as_its_layers_say(model: Model) -> None:
    network = nn.Sequential(*model.blocks(COLOUR, TEN))
    assert sum(p.numel() for p in network.parameters()) == SIZES[model]


@pytest.mark.parametrize(("model", "shape", "places"), PLACES, ids=lambda given: str(given))
def test_published_cuts_send_published_shapes_and_change_no_answer(
    model: Model, shape: Shape, places: dict[int, Shape]
) -> None:
    torch.manual_seed(1)
    whole, x = nn.Sequential(*model.blocks(shape, TEN)).eval(), torch.rand(2, *shape)
    for cut, sent in places.items():
        split = made(model, cut, "vanilla", shape, TEN).eval()
        z, _ = split.bottom(x)
        assert z.shape[1:] == sent
        assert torch.equal(split.top(z), whole(x))
        assert list(split.top.parameters())


@pytest.mark.parametrize("model", [place[0] for place in PLACES], ids=str)
def test_in_a_u_shape_the_server_always_has_weights(model: Model) -> None:
    shape = next(shape for one, shape, _ in PLACES if one == model)
    cuts = model.cuts("u_shape")
    assert sorted(cuts) == list(range(1, len(cuts) + 1))
    last = made(model, len(cuts), "u_shape", shape, TEN)
    assert list(last.top.parameters())
    beyond = model.split(shape, TEN, len(cuts) + 1, "u_shape")
    assert not list(beyond.top.parameters())


def test_a_fine_lenet_starts_from_the_weights_of_the_coarse_one() -> None:
    fine, coarse = (made(LeNet(fine=fine), 1, "vanilla", GREY, TEN) for fine in (True, False))
    for one, other in zip(fine.parameters(), coarse.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("model", "side"), [(HeCNN(), 7), (VGG(), 31), (ResNet20(), 7), (FSHAResNet(), 7)], ids=lambda given: str(given)
)
def test_an_image_that_is_too_small_is_bad_input(model: Model, side: int) -> None:
    with pytest.raises(BadInput, match=f"model '{model.name}': images of {side}x{side} are too small"):
        model.blocks((3, side, side), TEN)
    assert nn.Sequential(*model.blocks((3, side + 1, side + 1), TEN)).eval()(
        torch.rand(1, 3, side + 1, side + 1)
    ).shape == (1, 10)
