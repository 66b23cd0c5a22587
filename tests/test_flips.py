"""Mirrored in training: image and mask together, drawn from the order's own stream."""

from __future__ import annotations

import pytest
import torch

from splitleak import matrix, victim
from splitleak.contract import BadInput
from splitleak.training import mirrored

from .conftest import TOYS, toy_matrix

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


def test_classes_stay_and_without_flips_nothing_is_drawn() -> None:
    x, y, stream = torch.rand(8, 1, 4, 4), torch.arange(8), draw()
    assert mirrored(x, y, "both", stream)[1] is y
    before = stream.get_state()
    assert mirrored(x, y, "none", stream)[0] is x
    assert torch.equal(stream.get_state(), before)


def test_flips_change_what_is_learned_and_the_key_only_where_they_are_asked_for() -> None:
    ways = ({}, {"flip": "none"}, {"flip": "both"})
    plain, same, other = (matrix.read(toy_matrix(**MASKS, train=way), TOYS).cells[0] for way in ways)
    assert plain.key == same.key != other.key
    assert plain.victim_key != other.victim_key
    assert "flip" not in plain.resolved()["train"]


def test_a_split_is_trained_on_the_same_mirror_images_as_the_whole_network() -> None:
    train = {"flip": "both", "epochs": 2}
    cells = [
        toy_matrix(**MASKS, train=train),
        toy_matrix(**MASKS | {"protocol": "central"}, train=train, attack="blind"),
    ]
    prints = []
    for given in cells:
        cell = matrix.read(given, TOYS).cells[0]
        made = victim.fresh(cell, victim.load_data(cell, TOYS, torch.device("cpu")), TOYS)
        victim.train(made)
        prints.append([t.clone() for t in made.split.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*prints, strict=True))


def test_signals_have_no_mirror_image() -> None:
    cell = matrix.read(toy_matrix(train={"flip": "both"}), TOYS).cells[0]
    with pytest.raises(BadInput, match=r"\[train\] flip is for images"):
        victim.load_data(cell, TOYS, torch.device("cpu"))
    wrong = toy_matrix(train={"flip": "all"})
    with pytest.raises(BadInput, match=r"flip.*'none', 'horizontal' or 'both'"):
        matrix.read(wrong, TOYS)
