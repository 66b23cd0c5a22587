"""Decoding of one image file of any mode: 8-bit grey or RGB squares, and masks of 0 and 1.

The square shows the whole image, stretched if it was not square. A mask is resampled in the same way as its image.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.image_index import ImageFiles
from splitleak.regular_file import require_regular

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")  # Pillow hands others, such as EPS, to other programs
UNREADABLE = (  # what Pillow raises on damaged files; found by changing random bytes
    OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, MemoryError, RuntimeError,
    struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
RESAMPLE = Image.Resampling.BILINEAR  # Pillow widens the filter when it shrinks: no aliasing


@contextmanager
def strictly() -> Iterator[None]:
    """An image of more pixels than Pillow finds sensible is an error; damaged tags that it reads over are no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode_image(file: Path, size: int, channels: int) -> tuple[Array, tuple[int, int]]:
    """(C, S, S) uint8 of a file in any mode, and its original width and height; alpha is dropped."""
    require_regular(file)
    with Image.open(file, formats=FORMATS) as opened:
        original = opened.size
        opened.draft(None, (2 * size, 2 * size))  # a JPEG is decoded at down to an eighth of its size if that suffices
        plain = _from_16_bit(opened) if _is_16_bit(opened) else _to_8_bit(opened, channels)
        small = np.asarray(plain.resize((size, size), RESAMPLE))
    bits = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    planes = bits[None] if bits.ndim == 2 else bits.transpose(2, 0, 1)
    return np.broadcast_to(planes, (channels, size, size)), original


def decode_mask(files: ImageFiles, original: tuple[int, int], size: int) -> Array:
    """(S, S) of 0 and 1: the union of the mask files, each cut at half of its brightest value, then resampled."""
    whole = np.zeros((original[1], original[0]), bool)
    for file in files.masks:
        require_regular(file)
        with Image.open(file, formats=FORMATS) as opened:
            if opened.size != original:
                mask, image = (" x ".join(map(str, wh)) for wh in (opened.size, original))
                raise BadInput(f"{file}: the mask has {mask} pixels, its image {files.image.name} has {image}")
            grey = np.asarray(_from_16_bit(opened) if _is_16_bit(opened) else _to_8_bit(opened, 1))
        whole |= grey * 2.0 > max(float(grey.max()), 1.0)
    small = Image.fromarray(whole.astype(np.uint8) * 255).resize((size, size), RESAMPLE)
    return np.asarray(small) >= 128


def _is_16_bit(image: Image.Image) -> bool:
    return image.mode[0] in "IF"


def _from_16_bit(image: Image.Image) -> Image.Image:
    """16-bit grey as floats of 0..255."""
    values = np.asarray(image).astype(np.float32)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"mode {image.mode} has no known scale; 8 or 16 bits are legal")
    return Image.fromarray(values / 257)


def _to_8_bit(image: Image.Image, channels: int) -> Image.Image:
    if "transparency" in image.info:
        image = image.convert("RGBA")  # without this Pillow warns about some palettes
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "LA") else "RGB")  # palettes, alpha, CMYK, YCbCr
    return image.convert("L" if channels == 1 else "RGB")
