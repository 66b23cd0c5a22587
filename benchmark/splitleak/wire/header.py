"""The header of a message, read strictly: every size in it is checked before any memory is taken for the content."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

from splitleak.wire.invalid_message import InvalidMessage

LONGEST = 2**16  # bytes of a header
DIMENSIONS, LONGEST_SIDE = 8, 2**31
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
    "BOOL": "?",
}  # fmt: skip
BYTES = {"F64": 8, "F32": 4, "F16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
CACHED, LONGEST_CACHED = 64, 2**12  # headers, and bytes of one


@dataclass(frozen=True)
class Header:
    """What a message holds: where each tensor begins, its dtype and its shape."""

    kind: str
    facts: dict[str, Any]
    tensors: dict[str, tuple[int, str, list[int]]]
    total: int  # bytes of the whole message


_headers: dict[bytes, Header] = {}  # thousands of messages share a header


def read_header(raw: bytes) -> Header:
    """The header at the start of these bytes; InvalidMessage if there is none."""
    length = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or len(raw) < 8 + length or length > LONGEST - 8:
        raise _no_message(raw, f"a header of {length} bytes" if len(raw) >= 8 else "no header")
    text = raw[8 : 8 + length]
    found = _headers.get(text)
    if found is None:
        try:
            found = _parsed(text)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _no_message(raw, "a malformed header") from None
        except RecursionError:
            raise _no_message(raw, "a header with too many levels") from None
        if length <= LONGEST_CACHED:
            if len(_headers) >= CACHED:
                _headers.clear()
            _headers[text] = found
    return found


def _no_message(raw: bytes, problem: str) -> InvalidMessage:
    legal = f"a safetensors header with kind and facts, of at most {LONGEST} bytes"
    return InvalidMessage(f"sent {len(raw)} bytes that are not a message ({problem}); legal: {legal}")


def _parsed(text: bytes) -> Header:
    """KeyError, TypeError, ValueError or RecursionError if this is no header of a message."""
    content = _json(text.decode())
    metadata = content.pop("__metadata__")
    if metadata.keys() != {"kind", "facts"}:
        raise ValueError
    kind, facts = metadata["kind"], _json(metadata["facts"])
    if type(kind) is not str or type(facts) is not dict:
        raise TypeError
    order = sorted(content, key=lambda name: _whole(content[name]["data_offsets"]))
    begin, tensors = 8 + len(text), {}
    for name in order:
        part = content[name]
        if part.keys() != {"dtype", "shape", "data_offsets"}:
            raise ValueError
        dtype, shape = part["dtype"], _whole(part["shape"])
        if len(shape) > DIMENSIONS or not all(0 <= side <= LONGEST_SIDE for side in shape):
            raise ValueError
        end = begin + BYTES[dtype] * math.prod(shape)
        if [8 + len(text) + offset for offset in part["data_offsets"]] != [begin, end]:  # no gap, no overlap
            raise ValueError
        tensors[name] = (begin, DTYPES[dtype], list(shape))
        begin = end
    return Header(kind, facts, tensors, begin)


def _whole(numbers: Any) -> list[int]:
    """A list of whole numbers; TypeError if it is anything else."""
    if type(numbers) is not list or any(type(number) is not int for number in numbers):
        raise TypeError
    return numbers


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse, object_pairs_hook=_table)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key twice")
    return table
