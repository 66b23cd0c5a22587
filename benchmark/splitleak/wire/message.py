"""A message: tensors as they lie in memory and a few plain values. Nothing that is received is executed.

On the wire it is one safetensors file: a JSON header with kind and facts, then the raw bytes of the tensors.

    kind               sender  content
    hello              client  version, victim, form and number of its records, saved epochs
    start              server  the epoch to start from, the run, the number of records of each client
    batch              client  smashed batch, its place (epoch, index), and under `vanilla` the labels
    features           server  under `u_shape`: output of the top
    gradient_features  client  under `u_shape`: gradient of the features
    gradient           server  gradient of the smashed batch
    turn               server  clients in turn: this client may train; encrypted weights of the client before
    weights            both    several clients: encrypted weights of a client; the server relays them
    detected           client  its defence has detected a hijack
    evaluate           server  training has ended
    query              client  smashed test records
    prediction         server  output of the top for a query
    evaluated          client  it has measured its utility and written its record
    done               server  all ends have finished
    restart            server  a client was lost: connect again and go back to the last common epoch
    error              both    the sender gives up, and why
    heartbeat          server  the server is still there
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save
from torch import Tensor

from splitleak.contract import Shape
from splitleak.wire.invalid_message import InvalidMessage

FRAME = 5  # bytes that gRPC puts before each message: a flag and its length
LARGEST = 2**30  # bytes of one message
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
    "BOOL": "?",
}  # fmt: skip


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
    header = _header_of(save(empty, {"kind": kind, "facts": facts}))
    content = json.loads(header[8:])
    return header, sorted((name for name, _, _ in forms), key=lambda name: content[name]["data_offsets"])


def _header_of(raw: bytes) -> bytes:
    """The eight bytes of the header's length, and the header."""
    return raw[: 8 + int.from_bytes(raw[:8], "little")]


def unpack(raw: bytes) -> Message:
    """The message in these bytes, its tensors in memory of their own; InvalidMessage if there is none."""
    header = _header_of(raw)
    try:
        layout = _layouts.get((header, len(raw))) or _read_layout(raw, header)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InvalidMessage(f"sent {len(raw)} bytes that are not a message ({type(error).__name__})") from None
    tensors = {name: _tensor(raw, *place) for name, place in layout.tensors.items()}
    return Message(layout.kind, tensors, dict(layout.facts))


@dataclass(frozen=True)
class Layout:
    """The content of a header: where each tensor begins, its dtype and its shape."""

    kind: str
    facts: dict[str, Any]
    tensors: dict[str, tuple[int, str, list[int]]]


_layouts: dict[tuple[bytes, int], Layout] = {}  # by header and length of the whole message


def _read_layout(raw: bytes, header: bytes) -> Layout:
    """Let safetensors check offsets, sizes and overlaps; cached, because thousands of messages share a header."""
    parts = deserialize(raw)  # type: ignore[no-untyped-call]
    content = json.loads(header[8:])
    kind, facts = content["__metadata__"]["kind"], json.loads(content["__metadata__"]["facts"])
    if not isinstance(facts, dict):
        raise TypeError
    begins = {name: len(header) + content[name]["data_offsets"][0] for name, _ in parts}
    tensors = {name: (begins[name], DTYPES[part["dtype"]], part["shape"]) for name, part in parts}
    if len(_layouts) >= 64:
        _layouts.clear()
    _layouts[header, len(raw)] = layout = Layout(kind, facts, tensors)
    return layout


def _tensor(raw: bytes, begin: int, dtype: str, shape: list[int]) -> Tensor:
    """A copy in memory that is aligned as torch's own; otherwise a product might be summed in another order."""
    return torch.tensor(np.frombuffer(raw, dtype, math.prod(shape), begin).reshape(shape))
