"""A message: tensors as they lie in memory and a few plain words about them. Nothing that is read is executed.

On the wire it is one safetensors file: a JSON header with kind and facts, then the raw bytes of the tensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save
from torch import Tensor

from splitleak.errors import BadInput
from splitleak.nouns import Shape, Task

FRAME = 5  # bytes that gRPC puts before each message: a flag and its length
LARGEST = 2**30  # bytes of one message
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
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
    return save(flat, {"kind": kind, "facts": json.dumps(facts)})  # a third of the time of the one for torch


def unpack(raw: bytes) -> Message:
    """The message in these bytes, its tensors in memory of their own; Rejected if there is none."""
    try:
        parts = deserialize(raw)  # type: ignore[no-untyped-call]  # checks the header: offsets, sizes, overlaps
        said = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
        kind, facts = said["kind"], json.loads(said["facts"])
        if not isinstance(facts, dict):
            raise TypeError
        return Message(kind, {name: _tensor(part) for name, part in parts}, facts)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise Rejected(f"{len(raw)} bytes that are no message ({type(error).__name__})") from None


def _tensor(part: dict[str, Any]) -> Tensor:
    """Copied once, into memory that is aligned as torch's own: else a product might be summed in another order."""
    dtype, shape = DTYPES[part["dtype"]], part["shape"]
    if 0 in shape:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(part["data"], dtype=dtype).clone().view(shape)


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
    if t.is_floating_point() and not t.sum().isfinite() and not t.isfinite().all():  # the sum: a fifth of the time
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
