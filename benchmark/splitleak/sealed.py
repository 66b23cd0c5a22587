"""Files that carry a checksum of all their bytes, so that any change is noticed: JSON and safetensors.

The checksum is a sha256, taken while its own 64 digits are zeros. It tells damage and careless edits; whoever changes a
file on purpose can also write the checksum anew.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NoReturn

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

BLANK = "0" * 64
IN_JSON = re.compile(rb'^ "checksum": "([0-9a-f]{64})"', re.MULTILINE)  # of the outermost object: indented by one blank
IN_HEADER = re.compile(rb'"checksum":"([0-9a-f]{64})"')


class Unsealed(ValueError):
    """A whole file without a checksum, as earlier versions wrote them."""


def pack_json(value: dict[str, Any]) -> bytes:
    """A JSON object as the bytes of a file, with its checksum. ValueError for a number that is not finite."""
    text = json.dumps(value | {"checksum": BLANK}, indent=1, sort_keys=True, allow_nan=False) + "\n"
    return _sealed(text.encode(), IN_JSON)


def unpack_json(content: bytes) -> dict[str, Any]:
    """The object in the bytes of a file, without its checksum.

    Unsealed if there is none; ValueError for bytes that are not those that were written, or that are no such object.
    """
    if IN_JSON.search(content) is None and isinstance(value := _parsed(content), dict) and "checksum" not in value:
        raise Unsealed("it has no checksum, an earlier version wrote it")
    _verify(content, IN_JSON)
    found: dict[str, Any] = _parsed(content)
    del found["checksum"]
    return found


def pack_tensors(tensors: dict[str, Tensor], facts: dict[str, Any]) -> bytes:
    """Tensors, and JSON about them, as the bytes of a safetensors file with a checksum."""
    metadata = {"facts": json.dumps(facts, allow_nan=False), "checksum": BLANK}
    return _sealed(save(tensors, metadata=metadata), IN_HEADER)


def unpack_tensors(content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors in the bytes of a file, and what is said about them; errors as of `unpack_json`."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = content[8:end]
    if IN_HEADER.search(header) is None and "checksum" not in _metadata(header):
        raise Unsealed("it has no checksum, an earlier version wrote it")
    _verify(content, IN_HEADER)
    try:
        facts = _parsed(_metadata(header)["facts"].encode())
        tensors = load(content)
    except (SafetensorError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    if not isinstance(facts, dict):
        raise ValueError("what it says about its tensors is no JSON object")
    return tensors, facts


def _metadata(header: bytes) -> dict[str, str]:
    value = _parsed(header)
    found = value.get("__metadata__") if isinstance(value, dict) else None
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ValueError("its header is not that of tensors with facts")
    return found


def _sealed(content: bytes, where: re.Pattern[bytes]) -> bytes:
    found = where.search(content)
    if found is None:
        raise ValueError("no room for a checksum")
    return content[: found.start(1)] + _checksum(content, found) + content[found.end(1) :]


def _verify(content: bytes, where: re.Pattern[bytes]) -> None:
    found = where.search(content)
    if found is None or _checksum(content, found) != found[1]:
        raise ValueError("its bytes are not those that were written: the checksum is another")


def _checksum(content: bytes, found: re.Match[bytes]) -> bytes:
    """Over all bytes but the digits of the checksum, which count as zeros."""
    whole = hashlib.sha256(memoryview(content)[: found.start(1)])
    whole.update(BLANK.encode())
    whole.update(memoryview(content)[found.end(1) :])
    return whole.hexdigest().encode()


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}, which is no number")
