"""What a reconstruction of images looks like is kept beside its record: truth above, guess below."""

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


def test_signals_classes_and_scores_have_no_picture() -> None:
    assert sheet(torch.zeros(3, 1, 8), torch.zeros(3, 1, 8), (0, 1)) is None
    assert sheet(torch.zeros(3), torch.zeros(3), (0, 1)) is None


def test_record_of_images_names_its_picture(run: Any, tmp_path: Path) -> None:
    (record,) = run(dataset="toy_images", model="toy_skips", attack="blind")
    assert record["status"] == "done", record["why"]
    assert record["picture"].endswith(f"-{record['key'][:8]}.png")
    (kept,) = tmp_path.glob(f"**/{record['picture']}")
    assert np.asarray(Image.open(kept)).ndim == 2
