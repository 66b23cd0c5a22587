"""Image files that are none: each is named, and none of them blocks, fills the memory or starts a program."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splitleak.datasets.cxr_lung import CXRLung
from splitleak.datasets.fundus import Fundus
from splitleak.datasets.reading.decode_image import UNREADABLE, decode_image, strictly

from .image_folders import kaggle_eyes, noise, parts, prepared_lungs, refusal, save


def png(width: int, height: int) -> bytes:
    """A PNG that says it is so large; its pixels are missing."""
    chunks = (b"IHDR" + struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(bytes(1000)))
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def whole_bomb(file: Path) -> None:
    """10,000 x 10,000 equal pixels in 100 kB: Pillow alone would only warn."""
    Image.new("L", (10_000, 10_000)).save(file)


def truncated(file: Path) -> None:
    file.write_bytes(save(file).read_bytes()[:300])


def program(file: Path) -> None:
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n(/tmp/owned) (w) file closefile\n")


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "FIFO": (os.mkfifo, "is a FIFO, must be a regular file"),
    "folder": (Path.mkdir, "is a directory, must be a regular file"),
    "loop of links": (lambda file: file.symlink_to(file.name), "Too many levels of symbolic links"),
    "device": (lambda file: file.symlink_to("/dev/zero"), "is a device, must be a regular file"),
    "bomb": (lambda file: file.write_bytes(png(60_000, 60_000)), "exceeds limit of"),
    "smaller bomb": (whole_bomb, "exceeds limit of"),
    "truncated": (truncated, "truncated"),
    "floats": (lambda file: Image.fromarray(np.full((20, 24), 0.5, np.float32)).save(file, "TIFF"), "mode F"),
    "negative numbers": (lambda file: Image.fromarray(np.full((20, 24), -1, np.int32)).save(file, "TIFF"), "mode I"),
    "program": (program, "cannot identify image file"),
    "empty": (Path.touch, "cannot identify image file"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("place", ["images", "masks"])
@pytest.mark.parametrize(("spoil", "said"), SPOILED.values(), ids=[name.replace(" ", "-") for name in SPOILED])
def test_a_file_that_is_no_image_is_named(home: Path, spoil: Callable[[Path], object], said: str, place: str) -> None:
    folder = prepared_lungs(home, 12, 1)
    (folder / place / "p7_0.png").unlink()
    spoil(folder / place / "p7_0.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is printed beside the message
        refusal(CXRLung(), f"1 ({place}/p7_0.png: ", said, "of 12 files cannot be read: more than one in twenty")


def test_one_that_blocks_in_forty_is_left_out_with_a_note(home: Path) -> None:
    folder = prepared_lungs(home, 40, 1)
    (folder / "images/p7_0.png").unlink()
    os.mkfifo(folder / "images/p7_0.png")
    for _ in range(2):  # the second time from the cache
        data = CXRLung().load()
        assert sum(map(len, parts(data))) == 39
        assert "1 (images/p7_0.png: " in data.notes[0]
        assert "is a FIFO" in data.notes[0]


@pytest.mark.timeout(60)
def test_a_table_that_is_a_fifo_is_named(home: Path) -> None:
    labels = kaggle_eyes(home)
    labels.unlink()
    os.mkfifo(labels)
    refusal(Fundus(), labels.name)


@pytest.mark.timeout(60)
def test_a_meta_table_that_is_a_fifo_is_named(home: Path) -> None:
    folder = prepared_lungs(home, 12, 1)
    (folder / "meta.csv").unlink()
    os.mkfifo(folder / "meta.csv")
    refusal(CXRLung(), f"{folder / 'meta.csv'}: not a readable CSV", "is a FIFO")


@pytest.mark.parametrize("suffix", ["png", "jpeg", "tiff", "bmp"])
def test_changed_bytes_are_decoded_or_refused_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    draw, file = random.Random(suffix), save(tmp_path / f"x.{suffix}", noise(20, 24, 3))
    whole = file.read_bytes()
    for _ in range(150):
        spoiled = bytearray(whole)
        for _ in range(draw.choice([1, 2, 5])):
            spoiled[draw.randrange(min(len(spoiled), 300))] = draw.randrange(256)
        file.write_bytes(spoiled[: draw.randrange(len(spoiled))] if draw.random() < 0.2 else spoiled)
        with strictly(), contextlib.suppress(*UNREADABLE):
            assert decode_image(file, 16, 1)[0].shape == (1, 16, 16)
