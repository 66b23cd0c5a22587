"""Data from image files or from arrays of decoded images: divided by person, resized, copies removed, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from splitleak.contract import Data, Records, Task
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.division_by_person import Manifest, assign_parts, count_and_examples, note_left_out
from splitleak.datasets.reading.identity import record_hashes
from splitleak.datasets.reading.image_cache import decode_all
from splitleak.datasets.reading.image_index import ImageFiles
from splitleak.datasets.reading.validation import validate

Size = Annotated[int, Field(ge=8, le=1024)]  # pixels along each side
RANGE = (0.0, 1.0)


@dataclass(frozen=True)
class ImageSet:
    """The records of an image dataset, and what is known of them before their images are read."""

    manifest: Manifest
    task: Task
    who: str  # names the dataset and its files at the start of each message
    n: int | None = None  # at most so many private records
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what was left out already
    property: bool = False  # the labels of the manifest are the property, as the task is another one


def data_from_files(images: ImageSet, files: Sequence[ImageFiles], size: int, channels: int) -> Data:
    """Data from image files; the division comes first, so that only images of a part are decoded."""
    manifest, who = images.manifest, images.who
    part, notes = assign_parts(manifest, who, images.n)
    needed = np.flatnonzero(part >= 0)
    decoded = decode_all([files[int(i)] for i in needed], size, channels)
    notes += note_left_out(who, decoded.bad, len(needed), "files cannot be read", "each must be a whole image file")
    rows = needed[decoded.rows]
    y = decoded.mask.float() if images.task.kind == "mask" else torch.from_numpy(manifest.label[rows])
    kept = replace(images, manifest=manifest.take(rows), notes=images.notes + notes)
    return _build(kept, part[rows], decoded.x, y)


def data_from_arrays(images: ImageSet, x: Array, size: int, mask: Array | None = None) -> Data:
    """Data from decoded images (n, S, S) or (n, S, S, 3) and, for a mask task, masks (n, S, S) of 0 and 1."""
    manifest, who = images.manifest, images.who
    if x.dtype != np.uint8 or x.shape[1] != x.shape[2] or x.shape[3:] not in ((), (3,)):
        raise BadInput(f"{who}: images of shape {x.shape} in {x.dtype}; legal: (n, S, S) or (n, S, S, 3) in uint8")
    if len({len(x), len(manifest.name), len(manifest.label), *([] if mask is None else [len(mask)])}) > 1:
        raise BadInput(f"{who}: {len(x)} images, but {len(manifest.label)} labels; each image needs one")
    part, notes = assign_parts(manifest, who, images.n)
    rows = np.flatnonzero(part >= 0)
    small = resize_array(x[rows], size)
    y = torch.from_numpy(manifest.label[rows])
    if mask is not None:
        y = (resize_array(mask[rows].astype(np.uint8) * 255, size) >= 128).float()
    return _build(replace(images, manifest=manifest.take(rows), notes=images.notes + notes), part[rows], small, y)


def _build(images: ImageSet, part: Array, x: Tensor, y: Tensor) -> Data:
    """Checked Data from uint8 images x (n, C, H, W) and their parts; of equal images one stays, a private one first."""
    manifest, who, notes = images.manifest, images.who, images.notes
    identity = record_hashes(x)
    order = np.argsort(part, kind="stable")
    first = np.zeros(len(part), bool)
    first[order[np.unique(identity.numpy()[order], return_index=True)[1]]] = True
    if copies := [manifest.name[int(i)] for i in np.flatnonzero(~first)]:
        notes += (f"{who}: {count_and_examples(copies)} show the same image as another record and are left out",)
    group = None if manifest.patient is None else torch.from_numpy(manifest.people()[1].astype(np.int64))
    answers = torch.from_numpy(manifest.label) if images.property else None
    whole = Records(x, y, identity, group, answers)
    pieces = [whole.take(torch.from_numpy(np.flatnonzero((part == p) & first))) for p in range(3)]
    private, aux, test = (replace(r, x=r.x.float() / 255) for r in pieces)
    for name, r in (("private", private), ("auxiliary", aux), ("test", test)):
        if not len(r):
            raise BadInput(f"{who}: no image for the {name} part ({len(x)} images in all)")
    return validate(Data(private, aux, test, images.task, RANGE, images.flags, notes), who)


def resize_array(x: Array, size: int) -> Tensor:
    """(n, H, W) or (n, H, W, 3) uint8 images of an array file -> (n, C, S, S) uint8."""
    t = torch.from_numpy(np.ascontiguousarray(x))
    t = t[:, None] if t.ndim == 3 else t.permute(0, 3, 1, 2).contiguous()
    if t.shape[2:] == (size, size):
        return t
    parts = (torch.nn.functional.interpolate(p.float(), (size, size), mode="bilinear", antialias=True)
             for p in t.split(1000))  # fmt: skip
    return torch.cat([p.round().clamp(0, 255).to(torch.uint8) for p in parts])


def check_not_enlarged(size: int, x: Array, who: str) -> int:
    """The same size, or BadInput if it is larger than the images of an array file."""
    side = x.shape[1]
    if size > side:
        raise BadInput(f"{who}: size {size}, but these images have {side} x {x.shape[2]} pixels; legal: 8 to {side}")
    return size
