"""Image datasets: every layout that people download, patients kept apart, decoded once, every bad file one line."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from splitleak.contract import Data, Dataset, Records, Task
from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets import fashion_mnist
from splitleak.datasets.cxr_lung import CXRLung
from splitleak.datasets.cxr_lung_adult import CXRLungAdult
from splitleak.datasets.cxr_pneumonia import CXRPneumonia
from splitleak.datasets.fashion_mnist import FashionMNIST
from splitleak.datasets.fundus import Fundus
from splitleak.datasets.mnist import MNIST
from splitleak.datasets.reading import decode_image, image_cache
from splitleak.datasets.reading.division_by_person import Manifest, assign_parts
from splitleak.datasets.retinamnist import RetinaMNIST
from splitleak.plan import matrix
from splitleak.plan.case import Case
from splitleak.score.targets import aux_of, targets_of
from splitleak.train.data import load_data

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder and a cache of the test's own."""
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPLITLEAK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fashion_mnist, "SYSTEM", tmp_path / "usr")
    return tmp_path / "data"


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


# ---- the layouts, from random pixels ---------------------------------------------------------------------------


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


def adults(data: Path, n: int = 10, patients: bool = False) -> Path:
    names = [f"a{i}" for i in range(n)]
    for name in names:
        save(data / f"cxr_lung_adult/images/{name}.png")
        save(data / f"cxr_lung_adult/masks/{name}.png", blob())
    sheet(data / "cxr_lung_adult/meta.csv", [["file", "source_image"], *([f"{x}.png", f"{x}.png"] for x in names)])
    if patients:
        rows = [[f"who{i // 2}", name] for i, name in enumerate(names)]
        sheet(data / "cxr_lung_adult/data.csv", [["patient_id", "image_id"], *rows])
    return data / "cxr_lung_adult"


def lung_segmentation(data: Path, n: int = 12) -> Path:
    folder = data / "Lung Segmentation"
    for i in range(n):
        name, ending = (f"CHNCXR_{i:04}_0", "_mask") if i % 2 else (f"MCUCXR_{i:04}_1", "")
        save(folder / f"CXR_png/{name}.png")
        save(folder / f"masks/{name}{ending}.png", blob())
    return folder


def montgomery(data: Path, n: int = 8) -> Path:
    folder = data / "MontgomerySet"
    for i in range(n):
        name = f"MCUCXR_{i:04}_0.png"
        save(folder / "CXR_png" / name)
        left, right = np.zeros((20, 24), np.uint8), np.zeros((20, 24), np.uint8)
        left[:, :6], right[:, 18:] = 255, 255
        save(folder / "ManualMask/leftMask" / name, left)
        save(folder / "ManualMask/rightMask" / name, right)
    return folder


def shenzhen(data: Path, n: int = 8) -> Path:
    for i in range(n):
        save(data / f"ChinaSet_AllFiles/CXR_png/CHNCXR_{i:04}_0.png")
        save(data / f"mask/mask/CHNCXR_{i:04}_0_mask.png", blob())
    return data / "ChinaSet_AllFiles"


def chest_xray(data: Path, n: int = 6) -> Path:
    for part in ("train", "test"):
        for i in range(n):
            save(data / f"chest_xray/{part}/NORMAL/IM-{i:04}-0001.jpeg")
            for k in range(2):
                save(data / f"chest_xray/{part}/PNEUMONIA/person{i}_virus_{k}.jpeg")
    return data / "chest_xray"


def idrid(data: Path, n: int = 20) -> Path:
    folder = data / "B. Disease Grading"
    for part, kind in (("a. Training Set", "a. IDRiD_Disease Grading_Training"),
                       ("b. Testing Set", "b. IDRiD_Disease Grading_Testing")):  # fmt: skip
        rows: list[list[object]] = [["Image name", "Retinopathy grade", "Risk of macular edema ", "", ""]]
        for i in range(n):
            save(folder / "1. Original Images" / part / f"IDRiD_{i:03}.jpg", noise(20, 30, 3))
            rows.append([f"IDRiD_{i:03}", i % 5, 0, "", ""])
        sheet(folder / f"2. Groundtruths/{kind} Labels.csv", rows)
    return folder


def idrid_prepared(data: Path, n: int = 20) -> Path:
    rows: list[list[object]] = [["file", "split", "grade"]]
    for i in range(2 * n):
        split = "test" if i >= n else "train"
        save(data / f"fundus_idrid/images/{split}_{i}.jpg", noise(20, 20, 3))
        rows.append([f"{split}_{i}.jpg", split, i % 5])
    sheet(data / "fundus_idrid/labels.csv", rows)
    return data / "fundus_idrid"


def kaggle_eyes(data: Path, n: int = 30, labels: str = "trainLabels.csv", folder: str = "resized_train") -> Path:
    """Both eyes of n people, the left one healthy, the right one not always."""
    rows: list[list[object]] = [["Unnamed: 0", "image", "level"]]
    for i in range(n):
        for side in ("left", "right"):
            save(data / folder / folder / f"{i}_{side}.jpeg", noise(20, 30, 3))
            grade = 0 if side == "left" else i % 5
            rows.append([len(rows), f"{i}_{side}", int(grade > 1) if "Binary" in labels else grade])
    return sheet(data / labels, rows)


def retina_npz(data: Path) -> Path:
    arrays = {}
    for part, n in (("train", 50), ("val", 10), ("test", 20)):
        arrays |= {f"{part}_images": noise(n, 28, 28, 3), f"{part}_labels": (np.arange(n) % 5)[:, None]}
    (data / "medmnist").mkdir()
    np.savez(data / "medmnist/retinamnist.npz", **arrays)
    return data / "medmnist/retinamnist.npz"


def digits_npz(file: Path, **other: Array) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = {"x_train": noise(200, 28, 28), "y_train": np.arange(200) % 10, "x_test": noise(50, 28, 28),
             "y_test": np.arange(50) % 10}  # fmt: skip
    np.savez(file, **(whole | other))
    return file


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


def fundus_pack(data: Path, n: int = 40) -> Path:
    (data / "packs64").mkdir(exist_ok=True)
    file = data / "packs64/fundus_idrid_64.npz"
    np.savez(file, images=noise(n, 64, 64, 3), grade=np.arange(n) % 5, is_test=np.arange(n) >= 20)
    return file


Make = Callable[[Path], Path]
GREY, MASK = (1, 64, 64), Task("mask", 1)
LAYOUTS: list[tuple[Make, Dataset, tuple[int, ...], Task]] = [
    (prepared_lungs, CXRLung(), GREY, MASK),
    (lung_segmentation, CXRLung(), GREY, MASK),
    (montgomery, CXRLung(), GREY, MASK),
    (shenzhen, CXRLung(), GREY, MASK),
    (lung_pack, CXRLung(), GREY, MASK),
    (lung_pack, CXRLung(size=32), (1, 32, 32), MASK),
    (adults, CXRLungAdult(), GREY, MASK),
    (prepared_lungs, CXRPneumonia(), GREY, Task("classes", 2)),
    (lung_pack, CXRPneumonia(), GREY, Task("classes", 2)),
    (chest_xray, CXRPneumonia(), GREY, Task("classes", 2)),
    (idrid, Fundus(), (3, 64, 64), Task("classes", 2)),
    (idrid, Fundus(classes="all", size=32), (3, 32, 32), Task("classes", 5)),
    (idrid_prepared, Fundus(classes="all"), (3, 64, 64), Task("classes", 5)),
    (fundus_pack, Fundus(), (3, 64, 64), Task("classes", 2)),
    (kaggle_eyes, Fundus(), (3, 64, 64), Task("classes", 2)),
    (kaggle_eyes, Fundus(classes="all"), (3, 64, 64), Task("classes", 5)),
    (retina_npz, RetinaMNIST(), (3, 28, 28), Task("classes", 2)),
    (retina_npz, RetinaMNIST(classes="all", size=32), (3, 32, 32), Task("classes", 5)),
    (lambda data: digits_npz(data / "mnist/mnist.npz"), MNIST(), (1, 28, 28), Task("classes", 10)),
    (lambda data: idx_folder(data / "MNIST/raw"), MNIST(size=16), (1, 16, 16), Task("classes", 10)),
    (lambda data: idx_folder(data / "mnist", gz=False), MNIST(), (1, 28, 28), Task("classes", 10)),
    (lambda data: idx_folder(data / "FashionMNIST/raw"), FashionMNIST(), (1, 28, 28), Task("classes", 10)),
    (lambda data: idx_folder(data.parent / "usr/share/datasets/fashion-mnist"), FashionMNIST(), (1, 28, 28),
     Task("classes", 10)),
]  # fmt: skip


@pytest.mark.parametrize(("make", "dataset", "shape", "task"), LAYOUTS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_every_layout_is_divided_soundly(
    home: Path, make: Make, dataset: Dataset, shape: tuple[int, ...], task: Task
) -> None:
    make(home)
    data = dataset.load()
    assert (data.in_shape, data.task, data.in_range) == (shape, task, (0.0, 1.0))
    for one, other in combinations(parts(data), 2):
        assert not {row.tobytes() for row in one.x.numpy()} & {row.tobytes() for row in other.x.numpy()}
        if one.group is not None and other.group is not None:
            assert not set(one.group.tolist()) & set(other.group.tolist())
    for part in parts(data):
        assert part.x.dtype == torch.float32
        assert 0 <= part.x.min() < 0.3 < 0.7 < part.x.max() <= 1
        if task.kind == "mask":
            assert part.y.shape == (len(part), 1, *shape[1:])
            assert part.y.unique().tolist() == [0, 1]
            assert part.y.mean().item() == pytest.approx(0.5, abs=0.03)
        else:
            assert part.y.unique().tolist() == list(range(task.size))
    again = dataset.load()
    for one, other in zip(parts(data), parts(again), strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)
        assert torch.equal(one.id, other.id)


def test_left_and_right_masks_are_joined(home: Path) -> None:
    montgomery(home)
    y = CXRLung(size=24).load().private.y[0, 0]
    assert [int(y[:, c].float().mean()) for c in (0, 4, 8, 15, 19, 23)] == [1, 1, 0, 0, 1, 1]


def test_notes_go_where_the_records_go(home: Path) -> None:
    save(lung_segmentation(home) / "CXR_png/bare.png")
    data = CXRLung().load()
    assert len(data.notes) == 1
    assert data.to(torch.device("cpu")).notes == data.notes


def test_one_missing_side_is_an_image_without_mask(home: Path) -> None:
    (montgomery(home) / "ManualMask/rightMask/MCUCXR_0003_0.png").unlink()
    data = CXRLung().load()
    assert sum(map(len, parts(data))) == 7
    assert "1 (MCUCXR_0003_0.png) of 8 images have no mask: left out" in data.notes[0]


def test_both_eyes_are_in_one_part(home: Path) -> None:
    kaggle_eyes(home)
    data = Fundus(classes="all").load()
    sizes = []
    for part in parts(data):
        assert part.group is not None
        assert (part.group.unique(return_counts=True)[1] == 2).all()
        sizes.append(len(part.group.unique()))
    assert sizes == [15, 10, 5]  # 48, 32 and 20 % of the six people of each worst grade


def test_kaggle_binary_and_cropped_labels(home: Path) -> None:
    kaggle_eyes(home, labels="trainLabels_Binary.csv")
    two = Fundus().load()
    assert sum(int(part.y.sum()) for part in parts(two)) == 18  # of 30 right eyes those of grade 2, 3, 4
    with pytest.raises(BadInput, match="no labels"):
        Fundus(classes="all").load()
    kaggle_eyes(home, labels="trainLabels_cropped.csv", folder="resized_train_cropped")
    assert sum(map(len, parts(Fundus(classes="all").load()))) == 60


def test_asked_for_layout_comes_before_the_first_found(home: Path) -> None:
    idrid(home)
    kaggle_eyes(home)
    assert Fundus().load().private.group is None
    assert Fundus(layout="kaggle").load().private.group is not None
    with pytest.raises(FilesMissing, match=r"no packs64/fundus_idrid_64\.npz or .*SPLITLEAK_DATA"):
        Fundus(layout="pack").load()


def test_official_test_part_is_the_test_part(home: Path) -> None:
    prepared_lungs(home)
    data = CXRPneumonia().load()
    assert [len(part) for part in parts(data)] == [28, 20, 12]  # of 24 training people 14.4 and 9.6; 6 test people
    masks = CXRLung().load()
    for one, other in zip(parts(data), parts(masks), strict=True):
        assert torch.equal(one.id, other.id)  # the same X-rays in the same parts


def test_patient_of_both_official_halves_trains_nobody(home: Path) -> None:
    folder = prepared_lungs(home)
    text = (folder / "meta.csv").read_text()
    (folder / "meta.csv").write_text(text.replace("p0_0.png,test", "p0_0.png,train"))
    data = CXRLung().load()
    assert "1 training images left out: their patients are in the test part too" in data.notes[0]
    assert len(data.test) == 11


def test_a_persons_part_hardly_depends_on_the_other_people() -> None:
    names = [f"p{i}" for i in range(1000)]
    zeros = np.zeros(1000, np.int64)
    whole, _ = assign_parts(Manifest(names, zeros, names), "me")
    fewer, _ = assign_parts(Manifest(names[:950], zeros[:950], names[:950]), "me")
    assert np.bincount(whole).tolist() == [480, 320, 200]
    assert (whole[:950] == fewer).mean() > 0.96


def test_n_limits_every_part_by_whole_patients(home: Path) -> None:
    kaggle_eyes(home, n=120)
    data = Fundus(n=40, classes="all").load()
    assert 34 <= len(data.private) <= 40
    assert len(data.aux) <= 27
    assert len(data.test) <= 40
    digits_npz(home / "mnist.npz")
    assert [len(part) for part in parts(MNIST(n=100).load())] == [100, 67, 50]


def test_adults_are_auxiliary_data_against_children(home: Path) -> None:
    prepared_lungs(home)
    adults(home)
    chosen = {"dataset": [{"name": "cxr_lung", "size": 16}], "model": ["ecg_cnn"], "attack": ["inverse_network"],
              "aux": [{"name": "cxr_lung_adult", "size": 16}]}  # fmt: skip
    cell = matrix.read({"matrix": chosen}, Path()).cells[0]
    case = Case.of(cell, Path())
    data = load_data(case, torch.device("cpu"))
    targets, _ = targets_of(case, data)
    aux = aux_of(case, data, targets)
    assert aux.x.shape == (10, 1, 16, 16)
    assert not {row.tobytes() for row in aux.x.numpy()} & {row.tobytes() for row in data.private.x.numpy()}


def test_adults_without_patients_have_the_flag(home: Path) -> None:
    adults(home)
    assert CXRLungAdult().load().flags == ("patients-shared",)
    adults(home, n=20, patients=True)
    data = CXRLungAdult().load()
    assert data.flags == ()
    assert [len(part.group.unique()) for part in parts(data) if part.group is not None] == [5, 3, 2]


# ---- files of every kind ---------------------------------------------------------------------------------------


def read(file: Path, channels: int = 1) -> Array:
    return decode_image.decode_image(file, 16, channels)[0]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_is_the_same_picture(tmp_path: Path, channels: int) -> None:
    ramp = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    plain = read(save(tmp_path / "l.png", ramp), channels).astype(int)
    assert plain.shape == (channels, 16, 16)
    assert (plain[0, 0, 0], plain[0, 0, -1]) == (6, 249)
    for kind in ("RGB.png", "RGBA.png", "LA.png", "P.png", "CMYK.jpg", "CMYK.tif"):
        mode = kind.partition(".")[0]
        other = read(save(tmp_path / kind, ramp, mode), channels).astype(int)
        assert np.abs(other - plain).max() <= 2, mode
    deep = (ramp.astype(np.uint16) * 257).astype(np.uint16)
    for name in ("deep.png", "deep.tif"):
        assert np.abs(read(save(tmp_path / name, deep), channels).astype(int) - plain).max() <= 1


def test_sixteen_bits_are_scaled_by_their_full_range(tmp_path: Path) -> None:
    dark = save(tmp_path / "dark.png", np.full((20, 20), 4095, np.uint16))  # twelve bits in sixteen stay dark
    assert np.unique(read(dark)).tolist() == [16]
    with pytest.raises(ValueError, match="no known scale"):
        read(save(tmp_path / "f.tif", np.full((20, 20), 0.5, np.float32)))


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    pixels = np.full((20, 20, 4), 200, np.uint8)
    pixels[..., 3] = 0
    assert (read(save(tmp_path / "a.png", pixels), 3) == 200).all()


def test_palette_colours_are_kept(tmp_path: Path) -> None:
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 0] = 200
    file = save(tmp_path / "p.png", red, "P", transparency=0)
    assert Image.open(file).mode == "P"
    assert np.abs(read(file, 3)[:, 0, 0].astype(int) - [200, 0, 0]).max() <= 5


@pytest.mark.parametrize("how", ["0 and 1", "one bit", "palette", "colour", "16-bit"])
def test_masks_of_every_kind(home: Path, how: str) -> None:
    folder = prepared_lungs(home, 12, 1)
    for file in (folder / "masks").iterdir():
        bit = blob() // 255
        if how == "16-bit":
            save(file, bit.astype(np.uint16) * 65535)
        else:
            modes = {"one bit": "1", "palette": "P", "colour": "RGBA"}
            save(file, bit if how == "0 and 1" else blob(), modes.get(how))
    y = CXRLung(size=8).load().private.y
    assert torch.equal(y, (torch.arange(8) < 4).float().expand_as(y))


# ---- the cache -------------------------------------------------------------------------------------------------


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


# ---- bad input -------------------------------------------------------------------------------------------------


def refusal(dataset: Dataset, *said: object) -> str:
    with pytest.raises(BadInput) as caught:
        dataset.load()
    line = str(caught.value)
    assert "\n" not in line
    for part in said:
        assert str(part) in line
    return line


def test_one_unreadable_image_in_many_is_left_out_with_a_note(home: Path) -> None:
    folder = prepared_lungs(home, 40, 1)
    file = save(folder / "images/p7_0.jpeg", noise(64, 64))
    (folder / "images/p7_0.png").write_bytes(file.read_bytes()[:900])
    file.unlink()
    for _ in range(2):  # the second time from the cache
        data = CXRLung().load()
        assert sum(map(len, parts(data))) == 39
        assert "1 (images/p7_0.png: " in data.notes[0]
        assert "of 40 files cannot be read: left out" in data.notes[0]
        assert "truncated" in data.notes[0]
    for p in range(3):
        (folder / f"images/p{p}_0.png").write_bytes(b"")
    refusal(CXRLung(), "4 (images/p0_0.png: cannot identify image file", "more than one in twenty")


def test_unreadable_mask_is_named(home: Path) -> None:
    folder = prepared_lungs(home, 40, 1)
    (folder / "masks/p7_0.png").write_bytes((folder / "masks/p7_0.png").read_bytes()[:60])
    assert "1 (masks/p7_0.png: " in CXRLung().load().notes[0]


def test_masks_and_images_that_do_not_match(home: Path) -> None:
    folder = lung_segmentation(home, 12)
    save(folder / "masks/MCUCXR_0999_0.png", blob())
    refusal(CXRLung(), folder / "masks", "1 (MCUCXR_0999_0.png) of 13 masks have no image in")
    (folder / "masks/MCUCXR_0999_0.png").unlink()
    save(folder / "masks/MCUCXR_0004_1_mask.png", blob())
    refusal(CXRLung(), folder / "masks", "MCUCXR_0004_1.png and MCUCXR_0004_1_mask.png are masks of the same image")
    (folder / "masks/MCUCXR_0004_1_mask.png").unlink()
    save(folder / "masks/MCUCXR_0004_1.png", blob(21, 24))
    refusal(CXRLung(), "masks/MCUCXR_0004_1.png: the mask has 24 x 21 pixels, its image MCUCXR_0004_1.png has 24 x 20")


def test_images_without_masks_are_left_out_with_a_note(home: Path) -> None:
    folder = lung_segmentation(home, 12)
    for i in range(5):
        save(folder / f"CXR_png/test_{i}.png")
    data = CXRLung().load()
    assert sum(map(len, parts(data))) == 12
    assert "5 (test_0.png, test_1.png, test_2.png, ...) of 17 images have no mask: left out" in data.notes[0]


def test_labels_without_files(home: Path) -> None:
    labels = kaggle_eyes(home)
    (home / "resized_train/resized_train/3_left.jpeg").unlink()
    note = Fundus(classes="all").load().notes[0]
    assert "1 (3_left) of 60 labels in trainLabels.csv name files that are not in" in note
    for i in range(10, 14):
        (home / f"resized_train/resized_train/{i}_left.jpeg").unlink()
    refusal(Fundus(), labels, "5 (3_left, 10_left, 11_left, ...) of 60 labels", "more than one in twenty")


def test_tables_may_leave_the_suffix_away_and_images_may_be_in_no_table(home: Path) -> None:
    folder = prepared_lungs(home, 12, 1)
    text = (folder / "meta.csv").read_text()
    (folder / "meta.csv").write_text(text.replace(".png", "").replace(",P7", ","))
    save(folder / "images/unknown.png")
    save(folder / "masks/unknown.png", blob())
    data = CXRLung().load()
    assert sum(map(len, parts(data))) == 12
    assert "1 (unknown.png) of 13 images are not in meta.csv: left out" in data.notes[0]


def test_link_to_nowhere_is_an_unreadable_image(home: Path) -> None:
    folder = prepared_lungs(home, 40, 1)
    (folder / "images/p7_0.png").unlink()
    (folder / "images/p7_0.png").symlink_to("nowhere.png")
    assert "1 (images/p7_0.png: " in CXRLung().load().notes[0]


def test_names_that_occur_twice(home: Path) -> None:
    labels = kaggle_eyes(home)
    whole = labels.read_text()
    labels.write_text(whole + "99,3_left,0\n")
    refusal(Fundus(), f"{labels}: '3_left' is named twice")
    labels.write_text(whole)
    save(home / "resized_train/resized_train/3_left.png")
    refusal(Fundus(), "3_left.jpeg and 3_left.png have the same name")


def test_the_same_picture_twice_is_kept_once(home: Path) -> None:
    folder = prepared_lungs(home, 30, 1)
    for other in ("p10_0.png", "p11_0.png"):  # p10 is test data, p11 is not
        (folder / "images" / other).write_bytes((folder / "images/p12_0.png").read_bytes())
    data = CXRLung().load()
    assert sum(map(len, parts(data))) == 28
    assert "show the same image as another record and are left out" in data.notes[0]
    assert len(data.test) == 5


def test_empty_class_and_wrong_grade(home: Path) -> None:
    labels = kaggle_eyes(home)
    whole = labels.read_text()
    labels.write_text("\n".join(line[:-1] + "3" if line.endswith(",4") else line for line in whole.splitlines()))
    refusal(Fundus(classes="all"), labels, "no record of class 4 (classes are 0..4)")
    labels.write_text(whole.replace("3_right,3", "3_right,7"))
    refusal(Fundus(), f"{labels}: 3_right has grade '7'; legal: 0 to 4")
    labels.write_text(whole.replace("level", "grade"))
    refusal(Fundus(), f"{labels}: no column level; it has: Unnamed: 0, image, grade")


def test_one_patient_only(home: Path) -> None:
    folder = prepared_lungs(home, 12, 1)
    text = (folder / "meta.csv").read_text()
    rows = [line.rsplit(",", 1)[0] + ",P1" if ",train," in line else line for line in text.splitlines()]
    (folder / "meta.csv").write_text("\n".join(rows))
    refusal(CXRLung(), folder, "1 people for training and 3 for testing")


@pytest.mark.parametrize("dataset", [CXRLung, CXRPneumonia, CXRLungAdult, Fundus, RetinaMNIST, MNIST, FashionMNIST])
def test_size_must_be_sensible(dataset: type[Dataset]) -> None:
    for size in ("4", "5000", "-1"):
        with pytest.raises(ValidationError, match=r"(greater|less) than or equal to"):
            TypeAdapter(dataset).validate_json(f'{{"size": {size}}}')


def test_a_pack_is_not_enlarged(home: Path) -> None:
    lung_pack(home)
    refusal(CXRLung(size=128), "size 128, but these images have 64 x 64 pixels; legal: 8 to 64")


def test_empty_folders(home: Path) -> None:
    folder = prepared_lungs(home, 12, 1)
    for file in (folder / "images").iterdir():
        file.unlink()
    refusal(CXRLung(), f"{folder / 'images'}: no images in it (legal suffixes: .png, .jpg")
    (folder / "images").rmdir()
    refusal(CXRLung(), f"{folder / 'images'}: no such folder of images")
    (folder / "meta.csv").write_text("")
    refusal(CXRLung(), f"{folder / 'meta.csv'}: no rows in it")


@pytest.mark.parametrize("dataset", [CXRLung(), CXRPneumonia(), CXRLungAdult(), Fundus(), RetinaMNIST(), MNIST(),
                                     FashionMNIST()], ids=str)  # fmt: skip
def test_the_message_without_any_file_names_markers_and_places(home: Path, dataset: Dataset) -> None:
    with pytest.raises(FilesMissing, match="SPLITLEAK_DATA") as caught:
        dataset.load()
    assert str(home / dataset.name) in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x_train": noise(200, 28, 20)}, "training images are (28, 20), test images (28, 28)"),
        ({"x_train": np.zeros((200, 28, 28))}, "in float64; legal: (n, S, S)"),
        ({"y_train": np.arange(199) % 10}, "200 and 50 images, but 199 and 50 labels"),
        ({"y_train": np.arange(200) % 11}, "labels from 0 to 10; legal: 0 to 9"),
        ({"y_test": np.zeros((50, 1), np.int64)}, "y_test has shape (50, 1); it must have 1 dimensions"),
        ({"y_train": np.array([{}] * 200)}, "not a readable npz file (Object arrays cannot be loaded"),
        ({"y_train": np.arange(200) % 9}, "private part has no record of class 9"),
    ],
)
def test_bad_arrays(home: Path, arrays: dict[str, Array], said: str) -> None:
    digits_npz(home / "mnist.npz", **arrays)
    refusal(MNIST(), home / "mnist.npz", said)


def test_bad_array_files(home: Path) -> None:
    file = digits_npz(home / "mnist.npz")
    whole = file.read_bytes()
    file.write_bytes(whole[:-2000])
    refusal(MNIST(), f"{file}: not a readable npz file")
    np.savez(file, other=np.zeros(3))
    refusal(MNIST(), f"{file}: no array x_train and no y_train", "it has: other")
    file.unlink()
    folder = idx_folder(home / "mnist", gz=False)
    images_file, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    raw = images_file.read_bytes()
    images_file.write_bytes(raw[:-7])
    refusal(MNIST(), f"{images_file}: 156793 bytes follow the header; its sizes are 200 x 28 x 28")
    images_file.write_bytes(labels.read_bytes())
    refusal(MNIST(), f"{images_file}: begins with 00000801; it must begin with 00000803")
    images_file.write_bytes(raw)
    labels.unlink()
    refusal(MNIST(), f"{labels}: no such file")


def test_bad_gzip(home: Path) -> None:
    file = idx_folder(home / "MNIST/raw") / "t10k-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-9])
    refusal(MNIST(), f"{file}: not a readable gzip file")


@pytest.mark.slow
def test_a_run_tells_what_was_left_out_once_and_records_it(home: Path, lab: Any, main: Any) -> None:
    lung_segmentation(home, 12)
    save(home / "Lung Segmentation/CXR_png/bare.png")
    lab.write("net.py", """
        from torch import nn
        from dataclasses import dataclass
        from splitleak.contract import *
        @dataclass(frozen=True)
        class Net(Model):
            def blocks(self, in_shape, task):
                return [nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 1, 3, padding=1)]
            def cuts(self, protocol):
                return [1]
    """)  # fmt: skip
    lab.write("m.toml", """
        [matrix]
        dataset = [{ name = "cxr_lung", size = 16 }]
        model = ["./net.py"]
        attack = ["blind"]
        seed = [0, 1]
        [train]
        epochs = 1
        [evaluate]
        targets = 4
    """)  # fmt: skip
    ran = main("run", "m.toml", "--out", "out")
    assert ran.err.count("1 (bare.png) of 13 images have no mask: left out") == 1, ran.err
    for record in lab.records().values():
        assert record["notes"] == list(CXRLung(size=16).load().notes)


# ---- the real files --------------------------------------------------------------------------------------------

REAL = Path(os.environ.get("SPLITLEAK_DATA", "nowhere")).absolute()


def real(inside: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (REAL / inside).exists(), reason=f"no {inside} in SPLITLEAK_DATA")


SETS = [
    pytest.param(".", CXRLung(), [374, 269, 157], marks=[real("cxr_lung/meta.csv"), pytest.mark.slow]),
    pytest.param(".", CXRPneumonia(), [374, 269, 157], marks=[real("cxr_lung/meta.csv"), pytest.mark.slow]),
    pytest.param(".", CXRLung(layout="pack"), [374, 269, 157], marks=real("packs64")),
    pytest.param(".", CXRPneumonia(size=32, layout="pack"), [374, 269, 157], marks=real("packs64")),
    pytest.param(".", CXRLungAdult(), [41, 19, 16], marks=real("layouts/hannover_original/data.csv")),
    pytest.param(".", Fundus(layout="pack"), [234, 156, 97], marks=real("packs64")),
    pytest.param(".", RetinaMNIST(), [636, 424, 354], marks=real("medmnist/retinamnist.npz")),
    pytest.param("layouts", MNIST(), [1200, 800, 1000], marks=real("layouts/MNIST")),
    pytest.param("layouts/kaggle_lung_segmentation", CXRLung(), [12, 7, 5], marks=real("layouts")),
    pytest.param("layouts/montgomery_style", CXRLung(), [4, 2, 2], marks=real("layouts")),
    pytest.param("layouts/kermany_original", CXRPneumonia(), [9, 6, 3], marks=real("layouts")),
    pytest.param("layouts/kaggle_dr_resized", Fundus(), [13, 8, 5], marks=real("layouts")),
]


@pytest.mark.parametrize(("place", "dataset", "sizes"), SETS, ids=str)
def test_real_files(monkeypatch: pytest.MonkeyPatch, place: str, dataset: Dataset, sizes: list[int]) -> None:
    monkeypatch.setenv("SPLITLEAK_DATA", str(REAL / place))
    data = dataset.load()
    assert [len(part) for part in parts(data)] == sizes
    for one, other in combinations(parts(data), 2):
        assert not set(one.id.tolist()) & set(other.id.tolist())
        if one.group is not None and other.group is not None:
            assert not set(one.group.tolist()) & set(other.group.tolist())


@real("layouts/idrid_original")
def test_real_idrid_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLITLEAK_DATA", str(REAL / "layouts/idrid_original"))
    refusal(Fundus(), "409 (IDRiD_001, IDRiD_002, IDRiD_003, ...) of 413 labels")  # the sample has four of them
