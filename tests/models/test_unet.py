"""A U-Net split across its levels equals the unsplit one, gradients of the skips included."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak.models.unet import UNet

from .splits import MASK, images, made, plainly, splitly


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
