"""The dataset `own_records`: members and strangers stay apart, and each mistake in the files is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from splitleak.contract import BadInput, Data, Task
from splitleak.plan import plugins

Array = np.ndarray[Any, Any]
Files = dict[str, dict[str, Array]]


def files(members: int = 60, strangers: int = 80, **columns: Any) -> Files:
    """x drawn anew for each record, and columns made from the record's place in all files."""
    draw, place = np.random.default_rng(0), 0
    found: Files = {}
    for name, n in (("members", members), ("strangers", strangers)):
        found[name] = {"x": draw.normal(size=(n, 1, 8))}
        found[name] |= {what: make(np.arange(place, place + n)) for what, make in columns.items()}
        place += n
    return found


def load(folder: Path, given: Files, **parameters: Any) -> Data:
    for name, arrays in given.items():
        np.savez(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    spec = {"name": "own_records", **{name: f"{name}.npz" for name in given}} | parameters
    return plugins.make("dataset", spec, folder).load()  # type: ignore[attr-defined, no-any-return]


def rows(x: Any) -> set[bytes]:
    return {np.float32(row).tobytes() for row in np.asarray(x)}


def test_members_are_private_and_strangers_are_halved(tmp_path: Path) -> None:
    given = files()
    data = load(tmp_path, given)
    assert rows(data.private.x) == rows(given["members"]["x"])
    assert [len(part) for part in (data.private, data.aux, data.test)] == [60, 40, 40]
    assert rows(data.aux.x) | rows(data.test.x) == rows(given["strangers"]["x"])
    other = load(tmp_path, given, seed=1)
    assert rows(other.aux.x) != rows(data.aux.x)


def test_without_labels_stands_in_what_tells_nothing(tmp_path: Path) -> None:
    data = load(tmp_path, files())
    assert data.task == Task("value", 1)
    x, y = data.private.x.flatten(1), data.private.y[:, 0]
    assert abs(float(torch.corrcoef(torch.stack([x.mean(1), y]))[0, 1])) < 0.4  # 60 records
    assert torch.equal(y, load(tmp_path, files()).private.y[:, 0])


def test_a_file_of_the_attacker_leaves_all_strangers_for_the_test(tmp_path: Path) -> None:
    given = files(y=lambda place: place % 2)
    given["aux"] = {"x": np.random.default_rng(1).normal(size=(30, 1, 8)), "y": np.arange(30) % 2}
    data = load(tmp_path, given)
    assert (data.task, [len(part) for part in (data.private, data.aux, data.test)]) == (
        Task("classes", 2),
        [60, 30, 80],
    )
    assert rows(data.aux.x) == rows(given["aux"]["x"])


def test_nobody_is_in_both_halves(tmp_path: Path) -> None:
    """Persons are text, and numbered over all files; strangers are ten people."""
    given = files(group=lambda place: np.array([f"person {p // 8}" for p in place + 4 * (place >= 60)]))
    data = load(tmp_path, given)
    parts = [part.group for part in (data.private, data.aux, data.test)]
    people = [set(part.tolist()) for part in parts if part is not None]
    assert sum(map(len, people)) == len(set.union(*people)) == 8 + 10
    assert len(people[1]) == len(people[2]) == 5


def test_hdf5_is_read_too(tmp_path: Path) -> None:
    given = files(y=lambda place: place % 2)
    with h5py.File(tmp_path / "members.h5", "w") as file:
        for name, array in given["members"].items():
            file[name] = array
    data = load(tmp_path, given, members="members.h5")
    assert rows(data.private.x) == rows(given["members"]["x"])


def changed(given: Files, name: str, what: str, value: Any) -> Files:
    return given | {name: given[name] | {what: value}}


PLAIN = files()
MISTAKES: dict[str, tuple[Files, str]] = {
    "few members": (files(members=49), "49 members; legal: 50 or more"),
    "few strangers": (files(strangers=10), "10 strangers; legal: 50 or more"),
    "another shape": (
        changed(PLAIN, "strangers", "x", np.zeros((80, 1, 9))),
        r"x of strangers has entries of shape \(1, 9\); those of members \(1, 8\)",
    ),
    "labels in one file": (
        changed(PLAIN, "members", "y", np.arange(60) % 2), "y stands in one of members and strangers only"
    ),
    "members among strangers": (
        changed(PLAIN, "strangers", "x", np.concatenate([PLAIN["members"]["x"][:3], PLAIN["strangers"]["x"][3:]])),
        "3 of the records of strangers are also in members; each may be in one file only",
    ),
    "somebody in both": (files(group=lambda place: place // 8), "1 of the persons of strangers are also in members"),
    "pickled": (
        changed(PLAIN, "members", "x", np.array([{}] * 60)), "not a readable npz file .Object arrays cannot be loaded"
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(tmp_path: Path, mistake: str) -> None:
    given, message = MISTAKES[mistake]
    with pytest.raises(BadInput, match=message) as caught:
        load(tmp_path, given)
    assert "\n" not in str(caught.value)
