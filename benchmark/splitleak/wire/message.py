"""A message: tensors as they lie in memory and a few plain values. Nothing that is received is executed.

On the wire it is one safetensors file: a JSON header with kind and facts, then the raw bytes of the tensors. It is
sent in pieces of at most PIECE bytes, so that gRPC never has to hold a large one. `kinds.py` lists the kinds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor

from splitleak.contract import Shape
from splitleak.wire.header import Header, read_header
from splitleak.wire.invalid_message import InvalidMessage

FRAME = 5  # bytes that gRPC puts before each piece: a flag and its length
PIECE = 2**20  # bytes


@dataclass(frozen=True)
class Message:
    """What one end sends to the other."""

    kind: str
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def pack(kind: str, tensors: Mapping[str, Tensor] | None = None, /, **facts: Any) -> bytes:
    """A message as bytes; facts are plain values."""
    arrays = {name: t.detach().cpu().contiguous().numpy() for name, t in (tensors or {}).items()}
    forms = tuple((name, array.dtype.str, array.shape) for name, array in arrays.items())
    header, order = _packed_header(kind, json.dumps(facts), forms)
    return b"".join([header, *(arrays[name].tobytes() for name in order)])


@lru_cache(64)
def _packed_header(kind: str, facts: str, forms: tuple[tuple[str, str, Shape], ...]) -> tuple[bytes, list[str]]:
    """The header as safetensors writes it, and the order of the tensors after it; cached: batches share a header."""
    empty = {name: np.zeros(shape, dtype) for name, dtype, shape in forms}
    raw = save(empty, {"kind": kind, "facts": facts})
    header = raw[: 8 + int.from_bytes(raw[:8], "little")]
    content = json.loads(header[8:])
    return header, sorted((name for name, _, _ in forms), key=lambda name: content[name]["data_offsets"])


def pieces(raw: bytes) -> Iterator[bytes]:
    """A message as gRPC sends it."""
    if len(raw) <= PIECE:
        yield raw
        return
    for begin in range(0, len(raw), PIECE):
        yield raw[begin : begin + PIECE]


def counted(size: int) -> int:
    """The bytes of a message on the wire, with those of its frames."""
    return size + FRAME * max(1, math.ceil(size / PIECE))


def unpack(raw: bytes | bytearray, header: Header | None = None) -> Message:
    """The message in these bytes, its tensors in memory of their own; InvalidMessage if there is none."""
    header = header or read_header(bytes(raw))
    if len(raw) != header.total:
        raise InvalidMessage(f"sent {len(raw)} bytes that are not a message (its header says {header.total})")
    tensors = {name: _tensor(raw, *place) for name, place in header.tensors.items()}
    return Message(header.kind, tensors, dict(header.facts))


def _tensor(raw: bytes | bytearray, begin: int, dtype: str, shape: list[int]) -> Tensor:
    """A copy in memory that is aligned as torch's own; otherwise a product might be summed in another order."""
    return torch.tensor(np.frombuffer(raw, dtype, math.prod(shape), begin).reshape(shape))
