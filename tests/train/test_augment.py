"""Images that vary in training: image and mask together, drawn from the order's own stream."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from splitleak.contract import BadInput
from splitleak.plan import matrix
from splitleak.plan.case import Case
from splitleak.train import victim
from splitleak.train.augment import SHIFT, SIZE, mirrored, moved, varied
from splitleak.train.data import check_variation, load_data
from splitleak.train.fit import Fit

from ..conftest import TOYS, toy_matrix

MASKS = {"dataset": "toy_images", "model": "toy_skips", "protocol": "u_shape"}


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("how", "kinds"), [("none", 1), ("horizontal", 2), ("both", 4)])
def test_an_image_and_its_mask_are_turned_alike_and_in_every_way(how: str, kinds: int) -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4).repeat(400, 1, 1, 1)
    turned, mask = mirrored(x, x + 100, how, draw())
    assert torch.equal(mask, turned + 100)
    seen = {tuple(t.flatten().tolist()) for t in turned}
    ways = {tuple(x[0].flip(axes).flatten().tolist()) for axes in ((), (2,), (1,), (1, 2))}
    assert len(seen) == kinds
    assert seen <= ways
    if how == "horizontal":
        assert 150 < sum(bool(torch.equal(t, x[0])) for t in turned) < 250
        assert tuple(x[0].flip(2).flatten().tolist()) in seen


def disc(n: int, side: int = 64) -> torch.Tensor:
    """(n, 1, side, side), 1 within half of the way to the edge and 0 outside, off the middle."""
    across = torch.linspace(-1, 1, side)
    return ((across[:, None] + 0.1).square() + across.square() < 0.25).float().expand(n, 1, side, side).clone()


def test_a_mask_goes_where_its_image_goes_and_light_changes_no_order() -> None:
    x = disc(200)
    seen, mask = moved(x, x.clone(), draw())
    assert seen.min() >= 0
    assert seen.max() <= 1
    for image, under in zip(seen.flatten(1), mask.flatten(1), strict=True):
        assert (image[under.argsort()].diff() > -1e-5).all()  # brighter where the mask is, whatever the light
    assert len({round(float(image.max() - image.min()), 3) for image in seen}) > 100  # and each has its own


def test_how_far_an_image_moves() -> None:
    before, after = disc(400), moved(disc(400), disc(400), draw())[1]
    grown = after.sum((1, 2, 3)) / before.sum((1, 2, 3))
    assert (1 - SIZE) ** 2 - 0.02 < grown.min() < 0.8
    assert 1.25 < grown.max() < (1 + SIZE) ** 2 + 0.02
    across = torch.linspace(-1, 1, 64)
    middle = (after.sum(2) * across).sum((1, 2)) / after.sum((1, 2, 3))
    most = 2 * SHIFT * (1 + SIZE) + 0.1 * 0.2 + 0.02  # the shift grows with the image; it turns about a point beside it
    assert 0.7 * 2 * SHIFT < middle.abs().max() < most


def test_classes_stay_and_where_nothing_is_asked_for_nothing_is_drawn() -> None:
    x, y, stream = torch.rand(8, 1, 4, 4), torch.arange(8), draw()
    assert varied(x, y, "both", True, stream)[1] is y
    before = stream.get_state()
    assert varied(x, y, "none", False, stream)[0] is x
    assert torch.equal(stream.get_state(), before)


@pytest.mark.parametrize("way", [{"flip": "both"}, {"augment": True}])
def test_variation_changes_what_is_learned_and_the_key_only_where_it_is_asked_for(way: dict[str, object]) -> None:
    ways = ({}, {"flip": "none", "augment": False}, way)
    plain, same, other = (matrix.read(toy_matrix(**MASKS, train=way), TOYS).cells[0] for way in ways)
    assert plain.key == same.key != other.key
    assert plain.victim_key != other.victim_key
    assert not {"flip", "augment"} & plain.resolved()["train"].keys()


@pytest.mark.parametrize("way", [{"flip": "both"}, {"augment": True}])
def test_a_split_is_trained_on_the_same_images_as_the_whole_network(way: dict[str, object]) -> None:
    train = way | {"epochs": 2}
    cells = [
        toy_matrix(**MASKS, train=train),
        toy_matrix(**MASKS | {"protocol": "central"}, train=train, attack="blind"),
    ]
    prints = []
    for given in cells:
        case = Case.of(matrix.read(given, TOYS).cells[0], TOYS)
        made = victim.fresh(case, load_data(case, torch.device("cpu")))
        Fit(made).run()
        prints.append([t.clone() for t in made.split.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*prints, strict=True))


@pytest.mark.parametrize("way", [{"flip": "both"}, {"augment": True}])
def test_signals_have_no_mirror_image(way: dict[str, object]) -> None:
    cell = matrix.read(toy_matrix(train=way), TOYS).cells[0]
    with pytest.raises(BadInput, match=rf"\[train\] {next(iter(way))} is for images, and the records of .* have shape"):
        load_data(Case.of(cell, TOYS), torch.device("cpu"))


def test_light_is_changed_between_0_and_1_alone() -> None:
    cell = matrix.read(toy_matrix(**MASKS, train={"augment": True}), TOYS).cells[0]
    data = load_data(Case.of(cell, TOYS), torch.device("cpu"))
    with pytest.raises(BadInput, match=r"augment is for images in \[0, 1\], and those of 'x' are in \(-1, 1\)"):
        check_variation(cell.train, replace(data, in_range=(-1, 1)), "'x'")


def test_what_is_no_mirror_image() -> None:
    wrong = toy_matrix(train={"flip": "all"})
    with pytest.raises(BadInput, match=r"flip.*'none', 'horizontal' or 'both'"):
        matrix.read(wrong, TOYS)
