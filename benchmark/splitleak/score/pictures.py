"""A PNG beside each record of images: the true images above, the guesses below."""

from __future__ import annotations

import io

import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor

SHOWN = 8  # targets, the first ones
SIDE = 96  # pixels that an image is at least wide


def sheet(truth: Tensor, guess: Tensor, span: tuple[float, float]) -> bytes | None:
    """truth and guess (N, C, H, W), C 1 or 3, with values in span -> a PNG of two rows; None if they are no images."""
    if truth.dim() != 4 or truth.shape[1] not in (1, 3):
        return None
    low, high = span
    rows = [((t[:SHOWN].cpu().double() - low) / (high - low)).clamp(0, 1) for t in (truth, guess)]
    whole = torch.cat([_row(row) for row in rows], dim=1)  # (C, 2 rows, columns)
    pixels = (255 * whole).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "png")
    return file.getvalue()


def _row(images: Tensor) -> Tensor:
    """(n, C, H, W) -> (C, height, n widths): small images in larger pixels, a white line between neighbours."""
    factor = max(1, -(-SIDE // images.shape[3]))
    large = F.interpolate(images, scale_factor=factor, mode="nearest")
    framed = F.pad(large, (1, 1, 1, 1), value=1.0)
    return torch.cat(list(framed), dim=2)
