"""Image files decoded and resized, once: the result is kept in the user's cache folder as safetensors.

The file's name comes from the paths, the size and the channels; its key from each file's length and time of change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.decode_image import UNREADABLE, decode_image, decode_mask, strictly
from splitleak.datasets.reading.image_index import ImageFiles
from splitleak.datasets.reading.locate import cache_folder
from splitleak.store import fingerprint, write

FORMAT = 1  # version of the decoding: whoever changes a pixel raises it, so that cached images are made again


@dataclass(frozen=True)
class DecodedImages:
    """The images that could be decoded, and the names of those that could not."""

    x: Tensor  # (m, C, S, S) uint8
    mask: Tensor  # (m, 1, S, S) uint8 of 0 and 1; (m, 0) where the files have no masks
    rows: Array  # (m,) each image's index among the files given
    bad: list[str]  # `name: why` for each that could not be read


def decode_all(files: Sequence[ImageFiles], size: int, channels: int) -> DecodedImages:
    """The images of these files; from the cache if it holds the same files with the same lengths and times."""
    names = [str(path.absolute()) for f in files for path in (f.image, *f.masks)]
    states = [_length_and_time(path) for f in files for path in (f.image, *f.masks)]
    cached = cache_folder() / "images" / f"{_digest([names, size, channels])}.safetensors"
    key = _digest([FORMAT, states])
    images = _read_cache(cached, key)
    if images is None:
        images = _decode(files, size, channels)
        _write_cache(cached, key, images)
    return images


def _length_and_time(path: Path) -> tuple[int, int]:
    """A file's length in bytes and its last change in ns; (-1, -1) for a link to nowhere, which decoding reports."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]


def _read_cache(path: Path, key: str) -> DecodedImages | None:
    """The cached images; None if the file is missing, outdated or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            if facts["key"] != key:
                return None
            tensors = {name: file.get_tensor(name) for name in ("x", "mask", "rows")}
        if fingerprint(tensors) != facts["fingerprint"]:
            return None
        return DecodedImages(tensors["x"], tensors["mask"], tensors["rows"].numpy(), json.loads(facts["bad"]))
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _write_cache(path: Path, key: str, images: DecodedImages) -> None:
    tensors = {"x": images.x, "mask": images.mask, "rows": torch.from_numpy(images.rows)}
    facts = {"key": key, "fingerprint": fingerprint(tensors), "bad": json.dumps(images.bad)}
    try:
        write(path, save(tensors, metadata=facts))
    except BadInput:  # a cache folder that cannot be written to costs time only: images are decoded on each load
        return


def _decode(files: Sequence[ImageFiles], size: int, channels: int) -> DecodedImages:
    masked = bool(files) and bool(files[0].masks)
    x = np.zeros((len(files), channels, size, size), np.uint8)
    mask = np.zeros((len(files), 1, size, size) if masked else (len(files), 0), np.uint8)

    def one(i: int) -> str:
        """Decode image i into x and mask; returns why it cannot be read, or ''."""
        file = files[i].image
        try:
            x[i], original = decode_image(file, size, channels)
            if masked:
                file = files[i].masks[0]
                mask[i, 0] = decode_mask(files[i], original, size)
            return ""
        except PermissionError as error:
            raise BadInput(f"{file}: {error.strerror}") from error
        except UNREADABLE as error:
            reason = " ".join((str(error) or type(error).__name__).replace(str(file), "the file").split())
            return f"{'/'.join(file.parts[-2:])}: {reason[:120]}"

    with strictly(), ThreadPoolExecutor(torch.get_num_threads()) as pool:
        reasons = list(pool.map(one, range(len(files))))
    rows = np.array([i for i, why in enumerate(reasons) if not why], np.int64)
    bad = [why for why in reasons if why]
    return DecodedImages(torch.from_numpy(x[rows]), torch.from_numpy(mask[rows]), rows, bad)
