"""Image folders of every layout, from random pixels."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from splitleak.contract import Data, Dataset, Records
from splitleak.contract.errors import BadInput

Array = np.ndarray[Any, Any]


RNG = np.random.default_rng(5)


def parts(data: Data) -> tuple[Records, Records, Records]:
    return data.private, data.aux, data.test


def noise(*shape: int) -> Array:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def save(file: Path, pixels: Array | None = None, mode: str | None = None, **how: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(noise(20, 24) if pixels is None else pixels)
    (image.convert(mode) if mode else image).save(file, **how)
    return file


def sheet(file: Path, rows: Sequence[Sequence[object]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows(rows)
    return file


def blob(h: int = 20, w: int = 24) -> Array:
    """A mask with the left half set."""
    mask = np.zeros((h, w), np.uint8)
    mask[:, : w // 2] = 255
    return mask


def prepared_lungs(data: Path, people: int = 30, each: int = 2) -> Path:
    rows: list[list[object]] = [["file", "split", "label", "pneumonia", "patient"]]
    for p in range(people):
        for k in range(each):
            name = f"p{p}_{k}.png"
            save(data / "cxr_lung/images" / name)
            save(data / "cxr_lung/masks" / name, blob())
            rows.append([name, "test" if p % 5 == 0 else "train", "x", p % 2, f"P{p}"])
    sheet(data / "cxr_lung/meta.csv", rows)
    return data / "cxr_lung"


def lung_segmentation(data: Path, n: int = 12) -> Path:
    folder = data / "Lung Segmentation"
    for i in range(n):
        name, ending = (f"CHNCXR_{i:04}_0", "_mask") if i % 2 else (f"MCUCXR_{i:04}_1", "")
        save(folder / f"CXR_png/{name}.png")
        save(folder / f"masks/{name}{ending}.png", blob())
    return folder


def kaggle_eyes(data: Path, n: int = 30, labels: str = "trainLabels.csv", folder: str = "resized_train") -> Path:
    """Both eyes of n people, the left one healthy, the right one not always."""
    rows: list[list[object]] = [["Unnamed: 0", "image", "level"]]
    for i in range(n):
        for side in ("left", "right"):
            save(data / folder / folder / f"{i}_{side}.jpeg", noise(20, 30, 3))
            grade = 0 if side == "left" else i % 5
            rows.append([len(rows), f"{i}_{side}", int(grade > 1) if "Binary" in labels else grade])
    return sheet(data / labels, rows)


def digits_npz(file: Path, **other: Array) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = {"x_train": noise(200, 28, 28), "y_train": np.arange(200) % 10, "x_test": noise(50, 28, 28),
             "y_test": np.arange(50) % 10}  # fmt: skip
    np.savez(file, **(whole | other))
    return file


def cifar_folder(folder: Path, rows: int = 60) -> Path:
    """The six files of the binary version; labels go round."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        label = (np.arange(rows) % 10).astype(np.uint8)[:, None]
        (folder / f"{name}.bin").write_bytes(np.hstack([label, noise(rows, 3072)]).tobytes())
    return folder


def idx_folder(folder: Path, gz: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", 200), ("t10k", 50)):
        for kind, a in (("images-idx3", noise(n, 28, 28)), ("labels-idx1", (np.arange(n) % 10).astype(np.uint8))):
            raw = bytes((0, 0, 8, a.ndim)) + np.array(a.shape, ">u4").tobytes() + a.tobytes()
            name = f"{part}-{kind}-ubyte"
            (folder / (name + ".gz" * gz)).write_bytes(gzip.compress(raw) if gz else raw)
    return folder


def lung_pack(data: Path, n: int = 20) -> Path:
    (data / "packs64").mkdir(exist_ok=True)
    np.savez(
        data / "packs64/cxr_lung_64.npz",
        images=noise(n, 64, 64), label=np.arange(n) // 2 % 3, is_test=np.arange(n) < 6,
        masks=np.packbits(np.tile(blob(64, 64) > 0, (n, 1, 1)).reshape(n, -1), axis=1),
        patient=np.array([f"P{i // 2}" for i in range(n)]),
    )  # fmt: skip
    return data / "packs64/cxr_lung_64.npz"


def refusal(dataset: Dataset, *said: object) -> str:
    with pytest.raises(BadInput) as caught:
        dataset.load()
    line = str(caught.value)
    assert "\n" not in line
    for part in said:
        assert str(part) in line
    return line
