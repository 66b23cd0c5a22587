"""The real image files load as their documentation says."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import pytest

from splitleak.contract import Dataset
from splitleak.datasets.cifar10 import CIFAR10
from splitleak.datasets.cxr_lung import CXRLung
from splitleak.datasets.cxr_lung_adult import CXRLungAdult
from splitleak.datasets.cxr_pneumonia import CXRPneumonia
from splitleak.datasets.fundus import Fundus
from splitleak.datasets.mnist import MNIST
from splitleak.datasets.retinamnist import RetinaMNIST

from .image_folders import parts, refusal

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
    pytest.param(".", CIFAR10(n=900), [900, 600, 900], marks=real("cifar10/cifar-10-batches-bin")),
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
