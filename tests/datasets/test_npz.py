"""The dataset `npz`: an own file is divided by persons or records, and each mistake in it is one line."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from splitleak.contract import Data, Records, Task
from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.plan import plugins

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(120, 1, 16)), np.arange(120) % 3
PICKED = X[3, 0, 2]
GROUP = np.arange(120) // 4
IMAGES = RNG.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)


def load(folder: Path, arrays: dict[str, Array], **given: Any) -> Data:
    np.savez(folder / "mine.npz", **arrays)
    dataset = plugins.make("dataset", {"name": "npz", "file": "mine.npz"} | given, folder)
    return dataset.load()  # type: ignore[attr-defined, no-any-return]


def parts(data: Data) -> tuple[Records, Records, Records]:
    return data.private, data.aux, data.test


def test_classes_are_divided_by_record_with_their_share_in_every_part(tmp_path: Path) -> None:
    data = load(tmp_path, {"x": X, "y": Y})
    assert (data.task, data.in_shape, data.flags) == (Task("classes", 3), (1, 16), ())
    assert [part.y.bincount().tolist() for part in parts(data)] == [[24] * 3, [8] * 3, [8] * 3]
    assert data.in_range == (np.float32(X).min(), np.float32(X).max())
    rows = {row.tobytes(): label for row, label in zip(np.float32(X), Y, strict=True)}
    for part in parts(data):
        assert [rows[row.tobytes()] for row in part.x.numpy()] == part.y.tolist()  # labels stay with their records


def test_whole_persons_are_divided(tmp_path: Path) -> None:
    names = np.array([f"person {g}" for g in GROUP])
    for group in (GROUP, names):
        data = load(tmp_path, {"x": X, "y": Y, "group": group})
        people = [set(part.group.tolist()) for part in parts(data) if part.group is not None]
        assert sum(map(len, people)) == 30
        assert len(set.union(*people)) == 30
        assert [len(part) for part in parts(data)] == [72, 24, 24]


def test_many_rare_classes_are_divided_by_person(tmp_path: Path) -> None:
    x, person = RNG.normal(size=(400, 1, 8)), np.arange(400) // 2  # 40 classes of five people each
    data = load(tmp_path, {"x": x, "y": person % 40, "group": person})
    assert [part.y.bincount().unique().tolist() for part in parts(data)] == [[6], [2], [2]]


def test_copies_stay_in_one_part_and_join_the_persons_who_have_them(tmp_path: Path) -> None:
    x = X.copy()
    x[60:] = x[:60]
    for arrays in ({"x": x, "y": Y}, {"x": x, "y": Y, "group": np.arange(120)}, {"x": x, "y": Y, "id": np.arange(120)}):
        data = load(tmp_path, arrays)
        for one, other in combinations(parts(data), 2):
            assert not {row.tobytes() for row in one.x.numpy()} & {row.tobytes() for row in other.x.numpy()}
        assert all(len(part.id.unique()) == len(part) // 2 for part in parts(data))


def test_records_with_one_id_stay_in_one_part(tmp_path: Path) -> None:
    given = {row.tobytes(): i % 60 for i, row in enumerate(np.float32(X))}
    data = load(tmp_path, {"x": X, "y": Y, "id": np.arange(120) % 60})
    ids = [{given[row.tobytes()] for row in part.x.numpy()} for part in parts(data)]
    assert [len(part) for part in parts(data)] == [2 * len(of) for of in ids]
    assert all(not one & other for one, other in combinations(ids, 2))


def test_values_and_masks_by_the_shape_of_y(tmp_path: Path) -> None:
    data = load(tmp_path, {"x": X, "y": RNG.normal(size=(120, 2))})
    assert data.task == Task("value", 2)
    assert [len(part) for part in parts(data)] == [72, 24, 24]
    data = load(tmp_path, {"x": IMAGES, "y": IMAGES > 99, "property": np.arange(60) % 2}, low=0, high=255)
    assert (data.task, data.in_range) == (Task("mask", 1), (0, 255))
    assert data.private.x.dtype == data.private.y.dtype == torch.float32
    assert torch.equal(data.private.y, (data.private.x > 99).float())
    assert data.private.property is not None
    whole = load(tmp_path, {"x": X, "y": np.arange(240).reshape(120, 2)}, task="value")
    assert whole.task == Task("value", 2)


def test_shares_and_seed(tmp_path: Path) -> None:
    data = load(tmp_path, {"x": X, "y": Y}, private=0.5, aux=0.25)
    assert [len(part) for part in parts(data)] == [60, 30, 30]
    again, other = (load(tmp_path, {"x": X, "y": Y}, private=0.5, aux=0.25, seed=seed) for seed in (0, 1))
    assert torch.equal(again.test.x, data.test.x)
    assert not torch.equal(other.test.x, data.test.x)


MISTAKES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"y": None}, {}, "no array y in it; it has: x"),
    ({"x": X[:, 0, 0]}, {}, r"x has shape \(120,\) of torch.float32; it must be \(n, \*in\)"),
    ({"x": np.full(X.shape, "a")}, {}, "x has the type <U1; legal: numbers"),
    ({"x": X.astype(complex)}, {}, "x has the type complex128; legal: numbers"),
    ({"x": np.array([{}] * 120)}, {}, "not a readable npz file .Object arrays cannot be loaded"),
    ({"x": np.where(X == PICKED, np.nan, X)}, {}, "1 values of x are NaN or infinite"),
    ({"x": np.where(X == PICKED, 1e300, X)}, {}, "1 values of x are NaN or infinite"),
    ({"y": Y[:-1]}, {}, r"the arrays have different lengths \(x 120, y 119\)"),
    ({"group": GROUP[:-1]}, {}, r"different lengths \(x 120, y 120, group 119\)"),
    ({"group": GROUP[:, None]}, {}, r"group has shape \(120, 1\); it must have 1 dimensions"),
    ({"group": GROUP / 2}, {}, "group has the type float64; legal: whole numbers or text"),
    ({"property": Y}, {}, "property has values other than 0 and 1"),
    ({"y": Y + 1}, {}, "y has 3 different class numbers, from 1 to 3; legal: at least two classes, numbered 0, 1, 2"),
    ({"y": Y * 0}, {}, "y has 1 different class numbers, from 0 to 0; legal: at least two"),
    ({"y": Y * 1.0}, {}, r"y has shape \(120,\) of float64, task is 'auto'; legal: \(n,\) whole numbers for classes"),
    ({"y": Y[:, None]}, {}, r"y has shape \(120, 1\) of int64, task is 'auto'; legal"),
    ({}, {"task": "mask"}, "task is 'mask'; legal"),
    ({"x": IMAGES, "y": np.ones((60, 1, 4, 4))}, {}, r"masks have shape \(1, 4, 4\), records \(1, 8, 8\)"),
    ({"x": IMAGES, "y": IMAGES}, {}, r"it must be masks \(n, 1, H, W\) of values in \[0, 1\]"),
    ({"y": np.where(np.arange(120) < 2, 1, 0)}, {}, "no record of class 1"),
    (
        {"group": np.arange(120) // 60},
        {},
        "no division of the 2 people was found that puts every class into every part",
    ),
    (
        {"y": X[:, 0, :2], "group": np.arange(120) // 60},
        {},
        "no division of the 2 people was found that puts somebody into every part",
    ),
    ({"x": X[:2], "y": X[:2, 0]}, {}, "2 records are too few: none is left for the test part"),
    ({"x": X * 0}, {}, "would run from 0 to 0; low must be below high"),
    ({}, {"low": 0}, "values outside in_range"),
    ({}, {"private": 0.6, "aux": 0.4}, "private = 0.6 and aux = 0.4 leave nothing for the test part"),
]


@pytest.mark.parametrize(("arrays", "given", "message"), MISTAKES)
def test_each_mistake_is_one_line_that_names_the_file(
    tmp_path: Path, arrays: dict[str, Any], given: dict[str, Any], message: str
) -> None:
    chosen = {name: a for name, a in ({"x": X, "y": Y} | arrays).items() if a is not None}
    with pytest.raises(BadInput, match=message) as caught:
        load(tmp_path, chosen, **given)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "mine.npz") in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no npz", b"PK\x03\x04 no zip"])
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(BadInput, match=r"mine\.npz: not a readable npz file"):
        plugins.make("dataset", {"name": "npz", "file": "mine.npz"}, tmp_path).load()  # type: ignore[attr-defined]


def test_a_file_that_is_missing_is_named_with_where_its_path_starts(tmp_path: Path) -> None:
    with pytest.raises(FilesMissing, match="no such file; a path in a matrix starts at the matrix's folder") as caught:
        plugins.make("dataset", {"name": "npz", "file": "mine.npz"}, tmp_path).load()  # type: ignore[attr-defined]
    assert str(tmp_path / "mine.npz") in str(caught.value)


def test_a_run_takes_the_file_from_the_matrix_s_folder(lab: Any, main: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(lab.folder / "mine.npz", x=X, y=Y, group=GROUP)
    lab.matrix('attack = ["blind"]', dataset='[{ name = "npz", file = "mine.npz" }]')
    (lab.folder / "elsewhere").mkdir()
    monkeypatch.chdir(lab.folder / "elsewhere")
    assert main("run", "../m.toml", "--out", "../out").status == 0
    (record,) = lab.records().values()
    assert (record["status"], record["labels"]["dataset"]) == ("done", "npz(file=mine.npz)")
