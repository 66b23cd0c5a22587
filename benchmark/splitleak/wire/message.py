"""A message: tensors as they lie in memory and a few plain words about them. Nothing that is read is executed.

On the wire it is one safetensors file: a JSON header with kind and facts, then the raw bytes of the tensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save
from torch import Tensor

from splitleak.contract import Shape, Task
from splitleak.contract.errors import BadInput

FRAME = 5  # bytes that gRPC puts before each message: a flag and its length
LARGEST = 2**30  # bytes of one message
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
    "BOOL": "?",
}  # fmt: skip


class Rejected(BadInput):
    """A message that cannot be what it claims to be."""


@contextmanager
def told_by(who: str) -> Iterator[None]:
    """A Rejected from inside names its sender."""
    try:
        yield
    except Rejected as error:
        raise Rejected(f"{who}: {error}") from None


@dataclass(frozen=True)
class Message:
    kind: str
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def pack(kind: str, tensors: Mapping[str, Tensor] | None = None, /, **facts: Any) -> bytes:
    """A message as bytes; facts are plain values."""
    flat = {name: t.detach().cpu().contiguous().numpy() for name, t in (tensors or {}).items()}
    forms = tuple((name, t.dtype.str, t.shape) for name, t in flat.items())
    head, order = _head(kind, json.dumps(facts), forms)
    return b"".join([head, *(flat[name].tobytes() for name in order)])


@lru_cache(64)
def _head(kind: str, facts: str, forms: tuple[tuple[str, str, Shape], ...]) -> tuple[bytes, list[str]]:
    """A header as safetensors writes it, and in which order the tensors then lie: the same for thousands of batches."""
    head = _header(save({name: np.zeros(shape, dtype) for name, dtype, shape in forms}, {"kind": kind, "facts": facts}))
    said = json.loads(head[8:])
    return head, sorted((name for name, _, _ in forms), key=lambda name: said[name]["data_offsets"])


def _header(raw: bytes) -> bytes:
    return raw[: 8 + int.from_bytes(raw[:8], "little")]


def unpack(raw: bytes) -> Message:
    """The message in these bytes, its tensors in memory of their own; Rejected if there is none."""
    head = _header(raw)
    try:
        layout = _layouts.get((head, len(raw))) or _layout(raw, head)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise Rejected(f"{len(raw)} bytes that are no message ({type(error).__name__})") from None
    tensors = {name: _tensor(raw, *where) for name, where in layout.tensors.items()}
    return Message(layout.kind, tensors, dict(layout.facts))


@dataclass(frozen=True)
class Layout:
    """What a header says: where each tensor begins, its dtype and shape."""

    kind: str
    facts: dict[str, Any]
    tensors: dict[str, tuple[int, str, list[int]]]


_layouts: dict[tuple[bytes, int], Layout] = {}  # by header and length of the whole message


def _layout(raw: bytes, head: bytes) -> Layout:
    """Read and checked by safetensors (offsets, sizes, overlaps); remembered: thousands of messages share a header."""
    parts = deserialize(raw)  # type: ignore[no-untyped-call]
    said = json.loads(head[8:])
    kind, facts = said["__metadata__"]["kind"], json.loads(said["__metadata__"]["facts"])
    if not isinstance(facts, dict):
        raise TypeError
    begins = {name: len(head) + said[name]["data_offsets"][0] for name, _ in parts}
    tensors = {name: (begins[name], DTYPES[part["dtype"]], part["shape"]) for name, part in parts}
    if len(_layouts) >= 64:
        _layouts.clear()
    _layouts[head, len(raw)] = layout = Layout(kind, facts, tensors)
    return layout


def _tensor(raw: bytes, begin: int, dtype: str, shape: list[int]) -> Tensor:
    """Copied once, into memory that is aligned as torch's own: else a product might be summed in another order."""
    return torch.tensor(np.frombuffer(raw, dtype, math.prod(shape), begin).reshape(shape))


def take(message: Message, name: str, shape: Shape, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor (B, *shape) of this message, of numbers that are finite; Rejected says what is wrong with it."""
    t = message.tensors.get(name)
    if t is None:
        raise Rejected(f"message '{message.kind}' has no '{name}'")
    if t.dim() != len(shape) + 1 or tuple(t.shape[1:]) != tuple(shape) or not len(t):
        wanted = ", ".join(["B", *map(str, shape)])
        raise Rejected(f"'{name}' has shape {tuple(t.shape)}, it should have ({wanted})")
    if dtype is not None and t.dtype != dtype:
        raise Rejected(f"'{name}' holds {t.dtype}, it should hold {dtype}")
    if t.is_floating_point() and not math.isfinite(t.sum()) and not t.isfinite().all():  # the sum: a tenth of the time
        raise Rejected(f"'{name}' holds {'NaN' if t.isnan().any() else 'infinite values'}")
    return t


def labels(message: Message, task: Task, out_shape: Shape, batch: int) -> Tensor:
    """The labels of a batch: classes (B,) or their probabilities (B, K); masks and values as the prediction."""
    t = message.tensors.get("labels")
    hard = task.kind == "classes" and (t is None or t.dim() == 1)
    t = take(message, "labels", () if hard else out_shape)
    if len(t) != batch:
        raise Rejected(f"{len(t)} labels for {batch} records")
    if hard and (t.dtype != torch.int64 or int(t.min()) < 0 or int(t.max()) >= task.size):
        raise Rejected(f"'labels' must be classes from 0 to {task.size - 1}")
    return t
