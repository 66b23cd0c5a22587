"""What a reconstruction of images or signals looks like is kept beside its record."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from splitleak.score.pictures import sheet


@pytest.mark.parametrize("channels", [1, 3])
def test_truth_is_above_and_guess_below(channels: int) -> None:
    truth, guess = torch.full((3, channels, 8, 8), -1.0), torch.full((3, channels, 8, 8), 1.0)
    png = sheet(truth, guess, (-1.0, 1.0))
    assert png is not None
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    assert pixels.shape == ((196, 294) if channels == 1 else (196, 294, 3))
    assert (pixels[1:97, 1:97] == 0).all()
    assert (pixels[99:195, 1:97] == 255).all()


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
    assert np.asarray(Image.open(kept)).ndim == 2
