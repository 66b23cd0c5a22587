"""Image files of every kind become grey or RGB squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from splitleak.datasets.cxr_lung import CXRLung
from splitleak.datasets.reading import decode_image

from .image_folders import Array, blob, prepared_lungs, save


def read(file: Path, channels: int = 1) -> Array:
    return decode_image.decode_image(file, 16, channels)[0]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_is_the_same_picture(tmp_path: Path, channels: int) -> None:
    ramp = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    plain = read(save(tmp_path / "l.png", ramp), channels).astype(int)
    assert plain.shape == (channels, 16, 16)
    assert (plain[0, 0, 0], plain[0, 0, -1]) == (6, 249)
    for kind in ("RGB.png", "RGBA.png", "LA.png", "P.png", "CMYK.jpg", "CMYK.tif"):
        mode = kind.partition(".")[0]
        other = read(save(tmp_path / kind, ramp, mode), channels).astype(int)
        assert np.abs(other - plain).max() <= 2, mode
    deep = (ramp.astype(np.uint16) * 257).astype(np.uint16)
    for name in ("deep.png", "deep.tif"):
        assert np.abs(read(save(tmp_path / name, deep), channels).astype(int) - plain).max() <= 1


def test_sixteen_bits_are_scaled_by_their_full_range(tmp_path: Path) -> None:
    dark = save(tmp_path / "dark.png", np.full((20, 20), 4095, np.uint16))  # twelve bits in sixteen stay dark
    assert np.unique(read(dark)).tolist() == [16]
    with pytest.raises(ValueError, match="no known scale"):
        read(save(tmp_path / "f.tif", np.full((20, 20), 0.5, np.float32)))


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    pixels = np.full((20, 20, 4), 200, np.uint8)
    pixels[..., 3] = 0
    assert (read(save(tmp_path / "a.png", pixels), 3) == 200).all()


def test_palette_colours_are_kept(tmp_path: Path) -> None:
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 0] = 200
    file = save(tmp_path / "p.png", red, "P", transparency=0)
    assert Image.open(file).mode == "P"
    assert np.abs(read(file, 3)[:, 0, 0].astype(int) - [200, 0, 0]).max() <= 5


@pytest.mark.parametrize("how", ["0 and 1", "one bit", "palette", "colour", "16-bit"])
def test_masks_of_every_kind(home: Path, how: str) -> None:
    folder = prepared_lungs(home, 12, 1)
    for file in (folder / "masks").iterdir():
        bit = blob() // 255
        if how == "16-bit":
            save(file, bit.astype(np.uint16) * 65535)
        else:
            modes = {"one bit": "1", "palette": "P", "colour": "RGBA"}
            save(file, bit if how == "0 and 1" else blob(), modes.get(how))
    y = CXRLung(size=8).load().private.y
    assert torch.equal(y, (torch.arange(8) < 4).float().expand_as(y))
