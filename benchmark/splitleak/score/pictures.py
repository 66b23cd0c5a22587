"""A PNG beside each record of images or signals: true images above the guesses, or the traces of both."""

from __future__ import annotations

import io

import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image, ImageDraw
from torch import Tensor

SHOWN = 8  # targets, the first ones
SIDE = 96  # pixels that an image is at least wide, and a trace high
WIDE = 150  # pixels of a trace


def sheet(truth: Tensor, guess: Tensor, span: tuple[float, float]) -> bytes | None:
    """truth and guess (N, C, H, W), C 1 or 3, or (N, C, L), with values in span -> a PNG; None for other records.

    Of images it has two rows. Of signals it has the first channel of each, the truth in grey and the guess in red.
    """
    if truth.dim() == 3 and truth.shape[2] > 1:
        return traces(truth, guess, span)
    if truth.dim() != 4 or truth.shape[1] not in (1, 3):
        return None
    low, high = span
    rows = [((t[:SHOWN].cpu().double() - low) / (high - low)).clamp(0, 1) for t in (truth, guess)]
    whole = torch.cat([_row(row) for row in rows], dim=1)  # (C, 2 rows, columns)
    pixels = (255 * whole).round().byte().permute(1, 2, 0).numpy()
    return _png(Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))


def traces(truth: Tensor, guess: Tensor, span: tuple[float, float]) -> bytes:
    """Of signals (N, C, L) a PNG with a panel for each of the first ones."""
    low, high = span
    panels = [((t[:SHOWN, 0].cpu().double() - low) / (high - low)).clamp(0, 1) for t in (truth, guess)]  # (n, L)
    n, length = panels[0].shape
    whole = Image.new("RGB", (n * (WIDE + 1), SIDE), "white")
    pen = ImageDraw.Draw(whole)
    for i in range(n):
        left = i * (WIDE + 1)
        pen.line([(left + WIDE, 0), (left + WIDE, SIDE)], "lightgrey")
        for colour, width, values in (("grey", 3, panels[0][i]), ("red", 1, panels[1][i])):
            heights = ((1 - values) * (SIDE - 1)).tolist()
            pen.line([(left + k * (WIDE - 1) / (length - 1), y) for k, y in enumerate(heights)], colour, width)
    return _png(whole)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def _row(images: Tensor) -> Tensor:
    """(n, C, H, W) -> (C, height, n widths): small images in larger pixels, a white line between neighbours."""
    factor = max(1, -(-SIDE // images.shape[3]))
    large = F.interpolate(images, scale_factor=factor, mode="nearest")
    framed = F.pad(large, (1, 1, 1, 1), value=1.0)
    return torch.cat(list(framed), dim=2)
