"""Images are decoded once and kept in the cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from splitleak.datasets.cxr_lung import CXRLung
from splitleak.datasets.reading import image_cache

from .image_folders import blob, prepared_lungs, save


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that are decoded from here on."""
    seen: list[str] = []
    really = image_cache.decode_image

    def watched(file: Path, size: int, channels: int) -> Any:
        seen.append(file.name)
        return really(file, size, channels)

    monkeypatch.setattr(image_cache, "decode_image", watched)
    return seen


def test_second_load_decodes_nothing(home: Path, decoded: list[str]) -> None:
    prepared_lungs(home, 12, 1)
    first = CXRLung().load()
    assert len(decoded) == 12
    second = CXRLung().load()
    assert len(decoded) == 12
    assert torch.equal(first.private.x, second.private.x)
    assert torch.equal(first.private.y, second.private.y)
    CXRLung(size=32).load()
    assert len(decoded) == 24
    assert not list(home.rglob("*.safetensors"))


@pytest.mark.parametrize("what", ["images", "masks"])
def test_a_changed_file_is_read_again(home: Path, decoded: list[str], what: str) -> None:
    folder = prepared_lungs(home, 12, 1)
    before = CXRLung().load()
    file = save(folder / what / "p5_0.png", 255 - blob())
    os.utime(file, ns=(1, 1))
    after = CXRLung().load()
    assert len(decoded) == 24
    key = "x" if what == "images" else "y"
    assert not torch.equal(getattr(before.test, key), getattr(after.test, key))
    assert len(list((home.parent / "cache").rglob("*.safetensors"))) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_cache_is_made_again(home: Path, decoded: list[str], damage: str) -> None:
    prepared_lungs(home, 12, 1)
    before = CXRLung().load()
    (kept,) = (home.parent / "cache").rglob("*.safetensors")
    whole = kept.read_bytes()
    flipped = whole[:-300] + bytes([whole[-300] ^ 255]) + whole[-299:]
    kept.write_bytes({"cut": whole[:-100], "flipped": flipped, "empty": b""}[damage])
    after = CXRLung().load()
    assert len(decoded) == 24
    assert torch.equal(before.test.x, after.test.x)
    CXRLung().load()
    assert len(decoded) == 24


def test_a_cache_that_cannot_be_written_is_no_error(home: Path, decoded: list[str]) -> None:
    (home.parent / "cache").write_text("a file where the folder should be")
    prepared_lungs(home, 12, 1)
    CXRLung().load()
    CXRLung().load()
    assert len(decoded) == 24
