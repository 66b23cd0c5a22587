"""A PNG beside each record of images or signals: true images above the guesses, or the traces of both.

Where the task is a mask, the images carry its outline: the true one in blue, a guessed one in red.
"""

from __future__ import annotations

import io

import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image, ImageDraw
from torch import Tensor

from splitleak.contract import Goal
from splitleak.score.question import Question

Masks = tuple[Tensor | None, Tensor | None]
SHOWN = 8  # targets, the first ones
SIDE = 96  # pixels that an image is at least wide, and a trace high
WIDE = 150  # pixels of a trace
LINE = 2  # pixels of an outline
BLUE, RED = (0.0, 0.45, 1.0), (1.0, 0.0, 0.0)


def picture(question: Question, guess: Tensor) -> bytes | None:
    """The picture of a guess for the targets of a question; None where it is neither images, signals nor masks."""
    x, y, goal = question.targets.x, question.targets.y, question.goal
    masks = question.task.kind == "mask"
    if goal is Goal.INPUTS:
        return sheet(question.truth, guess, question.in_range, (y if masks else None, None))
    if goal is not Goal.LABELS or not masks:
        return None
    if x.dim() == 4:
        return sheet(x, x, question.in_range, (y, guess))
    return sheet(question.truth, guess, (0.0, 1.0))


def sheet(truth: Tensor, guess: Tensor, span: tuple[float, float], masks: Masks = (None, None)) -> bytes | None:
    """truth and guess (N, C, H, W), C 1 or 3, or (N, C, L), with values in span -> a PNG; None for other records.

    Of images it has two rows. Of signals it has the first channel of each, the truth in grey and the guess in red.
    masks: (N, 1, H, W), whose outlines are drawn on the upper and on the lower row of images.
    """
    if truth.dim() == 3 and truth.shape[2] > 1:
        return traces(truth, guess, span)
    if truth.dim() != 4 or truth.shape[1] not in (1, 3):
        return None
    low, high = span
    rows = [((t[:SHOWN].cpu().double() - low) / (high - low)).clamp(0, 1) for t in (truth, guess)]
    if any(mask is not None for mask in masks):
        rows = [row.expand(-1, 3, -1, -1) for row in rows]
    lines = zip(rows, masks, (BLUE, RED), strict=True)
    whole = torch.cat([_row(row, mask, colour) for row, mask, colour in lines], dim=1)  # (C, 2 rows, columns)
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


def _row(images: Tensor, mask: Tensor | None, colour: tuple[float, ...]) -> Tensor:
    """(n, C, H, W) -> (C, height, n widths): small images in larger pixels, a white line between neighbours."""
    factor = max(1, -(-SIDE // images.shape[3]))
    large = F.interpolate(images, scale_factor=factor, mode="nearest")
    if mask is not None:
        inside = F.interpolate((mask[:SHOWN].cpu() > 0.5).double(), scale_factor=factor, mode="nearest")
        inner = -F.max_pool2d(-F.pad(inside, (LINE,) * 4), 2 * LINE + 1, stride=1)  # without the pixels at its edge
        large = torch.where(inside > inner, torch.tensor(colour, dtype=large.dtype).view(1, 3, 1, 1), large)
    framed = F.pad(large, (1, 1, 1, 1), value=1.0)
    return torch.cat(list(framed), dim=2)
