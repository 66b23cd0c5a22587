"""What a reconstruction of images or signals looks like is kept beside its record."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from splitleak.score.pictures import BLUE, RED, sheet


@pytest.mark.parametrize("channels", [1, 3])
def test_truth_is_above_and_guess_below(channels: int) -> None:
    truth, guess = torch.full((3, channels, 8, 8), -1.0), torch.full((3, channels, 8, 8), 1.0)
    png = sheet(truth, guess, (-1.0, 1.0))
    assert png is not None
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    assert pixels.shape == ((196, 294) if channels == 1 else (196, 294, 3))
    assert (pixels[1:97, 1:97] == 0).all()
    assert (pixels[99:195, 1:97] == 255).all()


def colours(png: bytes | None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Where a picture is the blue of the true outline, and where the red of the guessed one."""
    assert png is not None
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    found = [(pixels == [round(255 * part) for part in colour]).all(2) for colour in (BLUE, RED)]
    return found[0], found[1]


def test_masks_are_outlines_the_true_one_above_and_the_guessed_one_below() -> None:
    images, mask, guess = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1  # 48 pixels wide in the picture, whose pixels are 12 wide
    guess[..., :4, :] = 0.9
    blue, red = colours(sheet(images, images, (0.0, 1.0), (mask, guess)))
    line = blue[1:97, 1:97]
    assert blue.sum() == line.sum() == 48**2 - 44**2  # two pixels of line around it
    assert line[24, 24:72].all()
    assert not line[26:70, 26:70].any()
    assert red.sum() == 96 * 48 - 92 * 44  # the border of the image counts as an edge
    assert red[98 + 1 + 46 : 98 + 1 + 48, 1:97].all()  # where the guess ends inside the image


def test_only_the_true_record_has_an_outline_where_records_are_guessed(run: Any, tmp_path: Path) -> None:
    for threat, goal in (("eavesdropper", "inputs"), ("eavesdropper", "labels")):
        attack = {"name": "blind", "goal": goal}
        (record,) = run(dataset="toy_images", model="toy_skips", attack=attack, threat=threat)
        assert record["status"] == "done", record["why"]
        (kept,) = tmp_path.glob(f"**/{record['picture']}")
        blue, red = colours(kept.read_bytes())
        assert blue[:98].any()
        assert not blue[98:].any()
        assert not red[:98].any()
        assert red[98:].any() == (goal == "labels")


def test_of_signals_both_traces_are_drawn() -> None:
    truth, guess = torch.full((3, 2, 8), -1.0), torch.full((3, 2, 8), 1.0)
    png = sheet(truth, guess, (-1.0, 1.0))
    assert png is not None
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    assert pixels.shape == (96, 453, 3)
    red, grey = (pixels == (255, 0, 0)).all(2), (pixels == (128, 128, 128)).all(2)
    assert red[0, :150].all()  # the guess at the upper end of the range
    assert grey[95, :150].all()  # the truth at the lower one
    assert not red[40:].any()


def test_classes_and_scores_have_no_picture() -> None:
    assert sheet(torch.zeros(3), torch.zeros(3), (0, 1)) is None
    assert sheet(torch.zeros(3, 5), torch.zeros(3, 5), (0, 1)) is None


def test_record_of_images_names_its_picture(run: Any, tmp_path: Path) -> None:
    (record,) = run(dataset="toy_images", model="toy_skips", attack="blind")
    assert record["status"] == "done", record["why"]
    assert record["picture"].endswith(f"-{record['key'][:8]}.png")
    (kept,) = tmp_path.glob(f"**/{record['picture']}")
    assert np.asarray(Image.open(kept)).shape == (196, 8 * 98, 3)
