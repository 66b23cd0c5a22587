"""Image files of any mode become 8-bit grey or RGB squares, once: what was decoded stays in the user's cache folder.

A square is the whole picture, stretched where it was none; a mask goes through the same resampling as its image.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from splitleak.contract import Data, Task
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.divide import Roll, deal, divided, leave_out
from splitleak.datasets.reading.folder import Array, cache_folder
from splitleak.datasets.reading.listing import Files
from splitleak.store import fingerprint, write

Size = Annotated[int, Field(ge=8, le=1024)]  # pixels along each side
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
FORMAT = 1  # of the cache: another way to decode needs another number
RESAMPLE = Image.Resampling.BILINEAR  # Pillow widens it where it shrinks: no aliasing


@dataclass(frozen=True)
class Pictures:
    """What could be decoded: x (m, C, S, S) and mask (m, 1, S, S) of 0 and 1, uint8, of these rows; and the rest."""

    x: Tensor
    mask: Tensor
    rows: Array  # (m,) places among the files asked for
    bad: list[str]  # `name: why` of each that could not be read


def pictures(files: Sequence[Files], size: int, channels: int) -> Pictures:
    """Decoded and resized, from the cache if it holds these very files (names, sizes, times of change)."""
    names = [str(path.absolute()) for f in files for path in (f.image, *f.masks)]
    states = [_state(path) for f in files for path in (f.image, *f.masks)]
    kept = cache_folder() / "images" / f"{_digest([names, size, channels])}.safetensors"
    key = _digest([FORMAT, states])
    found = _cached(kept, key)
    if found is None:
        found = _decoded(files, size, channels)
        _keep(kept, key, found)
    return found


def _state(path: Path) -> tuple[int, int]:
    """Size and time of the last change; a link to nowhere has none, and is told as unreadable later."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]


def _cached(path: Path, key: str) -> Pictures | None:
    """None where there is none, an older one, or a damaged one."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            if facts["key"] != key:
                return None
            tensors = {name: file.get_tensor(name) for name in ("x", "mask", "rows")}
        if fingerprint(tensors) != facts["fingerprint"]:
            return None
        return Pictures(tensors["x"], tensors["mask"], tensors["rows"].numpy(), json.loads(facts["bad"]))
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _keep(path: Path, key: str, done: Pictures) -> None:
    tensors = {"x": done.x, "mask": done.mask, "rows": torch.from_numpy(done.rows)}
    facts = {"key": key, "fingerprint": fingerprint(tensors), "bad": json.dumps(done.bad)}
    try:
        write(path, save(tensors, metadata=facts))
    except BadInput:  # a folder that cannot be written costs the time of decoding, nothing else
        return


def _decoded(files: Sequence[Files], size: int, channels: int) -> Pictures:
    masked = bool(files) and bool(files[0].masks)
    x = np.zeros((len(files), channels, size, size), np.uint8)
    mask = np.zeros((len(files), 1, size, size) if masked else (len(files), 0), np.uint8)

    def one(i: int) -> str:
        at = files[i].image
        try:
            x[i], was = picture(at, size, channels)
            if masked:
                at = files[i].masks[0]
                mask[i, 0] = union(files[i], was, size)
            return ""
        except PermissionError as error:
            raise BadInput(f"{at}: {error.strerror}") from error
        except UNREADABLE as error:
            said = " ".join(str(error).replace(str(at), "the file").split())
            return f"{'/'.join(at.parts[-2:])}: {said[:120]}"

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        said = list(pool.map(one, range(len(files))))
    rows = np.array([i for i, why in enumerate(said) if not why], np.int64)
    bad = [why for why in said if why]
    return Pictures(torch.from_numpy(x[rows]), torch.from_numpy(mask[rows]), rows, bad)


def picture(file: Path, size: int, channels: int) -> tuple[Array, tuple[int, int]]:
    """(C, S, S) uint8 of a file in any mode, and its width and height; alpha is dropped."""
    with Image.open(file) as opened:
        was = opened.size
        opened.draft(None, (2 * size, 2 * size))  # a JPEG is decoded at an eighth if that is enough
        plain = _deep(opened) if _is_deep(opened) else _flat(opened, channels)
        small = np.asarray(plain.resize((size, size), RESAMPLE))
    bits = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    planes = bits[None] if bits.ndim == 2 else bits.transpose(2, 0, 1)
    return np.broadcast_to(planes, (channels, size, size)), was


def union(files: Files, was: tuple[int, int], size: int) -> Array:
    """(S, S) of 0 and 1: a pixel of any of the masks, each above half of its own brightest, then the majority."""
    whole = np.zeros((was[1], was[0]), bool)
    for file in files.masks:
        with Image.open(file) as opened:
            if opened.size != was:
                had, wanted = (" x ".join(map(str, wh)) for wh in (opened.size, was))
                raise BadInput(f"{file}: the mask is {had} pixels, its image {files.image.name} {wanted}; wanted equal")
            grey = np.asarray(_deep(opened) if _is_deep(opened) else _flat(opened, 1))
        whole |= grey * 2.0 > max(float(grey.max()), 1.0)
    small = Image.fromarray(whole.astype(np.uint8) * 255).resize((size, size), RESAMPLE)
    return np.asarray(small) >= 128


def _is_deep(image: Image.Image) -> bool:
    return image.mode[0] in "IF"


def _deep(image: Image.Image) -> Image.Image:
    """16-bit grey as floats of 0..255."""
    values = np.asarray(image).astype(np.float32)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"mode {image.mode} without a known scale, wanted 8 or 16 bits")
    return Image.fromarray(values / 257)


def _flat(image: Image.Image, channels: int) -> Image.Image:
    if "transparency" in image.info:
        image = image.convert("RGBA")  # else Pillow warns about some palettes
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "LA") else "RGB")  # palettes, alpha, CMYK, YCbCr
    return image.convert("L" if channels == 1 else "RGB")


def from_files(
    roll: Roll, files: Sequence[Files], size: int, channels: int, task: Task, who: str, n: int | None = None,
    notes: tuple[str, ...] = (), flags: tuple[str, ...] = (),
) -> Data:  # fmt: skip
    """Divided first, decoded then: what no part needs is not read."""
    part, told = deal(roll, who, n)
    wanted = np.flatnonzero(part >= 0)
    done = pictures([files[int(i)] for i in wanted], size, channels)
    notes += told + leave_out(who, done.bad, len(wanted), "files cannot be read", "wanted whole image files")
    rows = wanted[done.rows]
    y = done.mask.float() if task.kind == "mask" else torch.from_numpy(roll.label[rows])
    return divided(roll.take(rows), part[rows], done.x, y, task, who, flags, notes)


def from_arrays(
    roll: Roll, x: Array, size: int, task: Task, who: str, mask: Array | None = None, n: int | None = None,
    flags: tuple[str, ...] = (),
) -> Data:  # fmt: skip
    """The same of pictures (n, H, W) or (n, H, W, 3) and masks (n, H, W) of 0 and 1 that are decoded already."""
    if x.dtype != np.uint8 or x.shape[1] != x.shape[2] or x.shape[3:] not in ((), (3,)):
        raise BadInput(f"{who}: pictures of shape {x.shape} in {x.dtype}, wanted (n, S, S) or (n, S, S, 3) in uint8")
    if len({len(x), len(roll.name), len(roll.label), *([] if mask is None else [len(mask)])}) > 1:
        raise BadInput(f"{who}: {len(x)} pictures, but {len(roll.label)} labels; wanted one for each")
    part, notes = deal(roll, who, n)
    rows = np.flatnonzero(part >= 0)
    small = resized(x[rows], size)
    y = torch.from_numpy(roll.label[rows])
    if mask is not None:
        y = (resized(mask[rows].astype(np.uint8) * 255, size) >= 128).float()
    return divided(roll.take(rows), part[rows], small, y, task, who, flags, notes)


def resized(x: Array, size: int) -> Tensor:
    """(n, H, W) or (n, H, W, 3) uint8 pictures of an array file -> (n, C, S, S) uint8."""
    t = torch.from_numpy(np.ascontiguousarray(x))
    t = t[:, None] if t.ndim == 3 else t.permute(0, 3, 1, 2).contiguous()
    if t.shape[2:] == (size, size):
        return t
    parts = (torch.nn.functional.interpolate(p.float(), (size, size), mode="bilinear", antialias=True)
             for p in t.split(1000))  # fmt: skip
    return torch.cat([p.round().clamp(0, 255).to(torch.uint8) for p in parts])


def at_most(size: int, x: Array, who: str) -> int:
    """The size, unless it is larger than the pictures of an array file."""
    side = x.shape[1]
    if size > side:
        raise BadInput(f"{who}: size {size}, but these pictures have {side} x {x.shape[2]} pixels; legal: 8 to {side}")
    return size
