"""A sealed file says when any one of its bytes is another, and never more than one line about it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from splitleak.sealed import Unsealed, pack_json, pack_tensors, unpack_json, unpack_tensors

RECORD = {"a": 1, "b": {"checksum": "no", "deep": [1.5, None, 'ä\n "checksum": "x"']}, "z": -0.25}
TENSORS = {"w": torch.arange(6.0).view(2, 3), "n": torch.tensor(3)}
FACTS = {"epochs": 2, "text": '"checksum":"' + "0" * 64 + '"'}
FILES: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "json": (pack_json(RECORD), unpack_json),
    "tensors": (pack_tensors(TENSORS, FACTS), unpack_tensors),
}


def test_what_was_packed_comes_back() -> None:
    assert unpack_json(pack_json(RECORD)) == RECORD
    tensors, facts = unpack_tensors(pack_tensors(TENSORS, FACTS))
    assert facts == FACTS
    assert all(torch.equal(tensors[name], t) for name, t in TENSORS.items())


@pytest.mark.parametrize("kind", FILES)
def test_any_byte_that_is_another_is_noticed(kind: str) -> None:
    content, unpack = FILES[kind]
    chance = random.Random(0)
    for place in range(len(content)):
        other = bytes([content[place] ^ (1 + chance.randrange(255))])
        with pytest.raises(ValueError, match=r".+"):
            unpack(content[:place] + other + content[place + 1 :])


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_shorter_or_longer_is_noticed(kind: str) -> None:
    content, unpack = FILES[kind]
    for other in (*(content[:n] for n in range(0, len(content), 7)), content + b"\n", b" " + content):
        with pytest.raises(ValueError, match=r".+"):
            unpack(other)


def test_a_file_of_an_earlier_version_is_told_from_a_damaged_one() -> None:
    with pytest.raises(Unsealed):
        unpack_json(json.dumps(RECORD, indent=1).encode())
    from safetensors.torch import save

    with pytest.raises(Unsealed):
        unpack_tensors(save(TENSORS, metadata={"facts": "{}"}))


@pytest.mark.parametrize(
    "inside", ["[" * 100_000, '{"a":' * 100_000, "NaN", "-Infinity", "1" * 5000, '"\\ud800"', "\xff"]
)
def test_hostile_json_is_a_value_error_with_or_without_a_checksum(inside: str) -> None:
    for content in (inside.encode("latin-1"), b'{\n "a": ' + inside.encode("latin-1") + b"\n}"):
        with pytest.raises(ValueError, match=r".+"):
            unpack_json(content)


def test_a_number_that_is_not_finite_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        pack_json({"a": float("nan")})
