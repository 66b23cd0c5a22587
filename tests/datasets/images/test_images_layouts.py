"""Image datasets read every layout that people download, and keep patients apart."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from splitleak.contract import Dataset, Task
from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets.cifar10 import CIFAR10
from splitleak.datasets.cxr_lung import CXRLung
from splitleak.datasets.cxr_lung_adult import CXRLungAdult
from splitleak.datasets.cxr_pneumonia import CXRPneumonia
from splitleak.datasets.fashion_mnist import FashionMNIST
from splitleak.datasets.fundus import Fundus
from splitleak.datasets.mnist import MNIST
from splitleak.datasets.reading.division_by_person import Manifest, assign_parts
from splitleak.datasets.retinamnist import RetinaMNIST
from splitleak.plan import matrix
from splitleak.plan.case import Case
from splitleak.score.targets import aux_of, targets_of
from splitleak.train.data import load_aux, load_data

from .image_folders import (
    blob,
    cifar_folder,
    digits_npz,
    idx_folder,
    kaggle_eyes,
    lung_pack,
    lung_segmentation,
    noise,
    parts,
    prepared_lungs,
    save,
    sheet,
)


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


def retina_npz(data: Path) -> Path:
    arrays = {}
    for part, n in (("train", 50), ("val", 10), ("test", 20)):
        arrays |= {f"{part}_images": noise(n, 28, 28, 3), f"{part}_labels": (np.arange(n) % 5)[:, None]}
    (data / "medmnist").mkdir()
    np.savez(data / "medmnist/retinamnist.npz", **arrays)
    return data / "medmnist/retinamnist.npz"


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
    (lambda data: cifar_folder(data / "cifar-10-batches-bin"), CIFAR10(), (3, 32, 32), Task("classes", 10)),
    (lambda data: cifar_folder(data / "cifar10/cifar-10-batches-bin", 37), CIFAR10(size=16), (3, 16, 16),
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
    aux = aux_of(case, data, targets, load_aux(case, torch.device("cpu")))
    assert aux.x.shape == (10, 1, 16, 16)
    assert not {row.tobytes() for row in aux.x.numpy()} & {row.tobytes() for row in data.private.x.numpy()}


def test_adults_without_patients_have_the_flag(home: Path) -> None:
    adults(home)
    assert CXRLungAdult().load().flags == ("patients-shared",)
    adults(home, n=20, patients=True)
    data = CXRLungAdult().load()
    assert data.flags == ()
    assert [len(part.group.unique()) for part in parts(data) if part.group is not None] == [5, 3, 2]
