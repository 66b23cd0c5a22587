"""Every bad image file or table is one line that names it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from splitleak.contract import Dataset
from splitleak.contract.errors import FilesMissing
from splitleak.datasets.cifar10 import CIFAR10
from splitleak.datasets.cxr_lung import CXRLung
from splitleak.datasets.cxr_lung_adult import CXRLungAdult
from splitleak.datasets.cxr_pneumonia import CXRPneumonia
from splitleak.datasets.fashion_mnist import FashionMNIST
from splitleak.datasets.fundus import Fundus
from splitleak.datasets.mnist import MNIST
from splitleak.datasets.retinamnist import RetinaMNIST

from .image_folders import (
    Array,
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
    refusal,
    save,
)


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


def test_bad_rows_of_cifar(home: Path) -> None:
    file = cifar_folder(home / "cifar-10-batches-bin") / "data_batch_3.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    refusal(CIFAR10(), f"{file}: 184379 bytes; it must have rows of 3073 bytes")
    file.write_bytes(b"")
    refusal(CIFAR10(), f"{file}: 0 bytes; it must have rows")
    file.write_bytes(b"\x0a" + whole[1:])
    refusal(CIFAR10(), f"{file}: labels from 0 to 10; legal: 0 to 9")
    file.unlink()
    os.mkfifo(file)
    refusal(CIFAR10(), f"{file}: no such file")
    file.unlink()
    refusal(CIFAR10(), f"{file}: no such file")


def test_planes_of_cifar_are_red_green_and_blue(home: Path) -> None:
    folder = cifar_folder(home / "cifar-10-batches-bin", rows=200)
    for name in folder.iterdir():
        rows = np.frombuffer(name.read_bytes(), np.uint8).reshape(-1, 3073).copy()
        rows[:, 1:1025], rows[:, 1025:2049] = 250, 30  # red is bright, green is dark
        name.write_bytes(rows.tobytes())
    x = CIFAR10().load().private.x
    assert float(x[:, 0].min()) == pytest.approx(250 / 255)
    assert float(x[:, 1].max()) == pytest.approx(30 / 255)
    assert float(x[:, 2].std()) > 0.2


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
