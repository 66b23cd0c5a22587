"""Every division of the heartbeats keeps what it promises, and every bad file is one line that names it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from splitleak.contract import Data, Dataset, Records, Task
from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets.ecg import ECG
from splitleak.datasets.ecg_synthetic import ECGSynthetic
from splitleak.datasets.reading.locate import find_file
from splitleak.datasets.reading.validation import validate


def real_files_found() -> bool:
    try:
        return bool(find_file("ecg", "train_ecg.hdf5"))
    except FilesMissing:
        return False


REAL = pytest.mark.skipif(not real_files_found(), reason="no real heartbeats: set SPLITLEAK_DATA to their folder")
CLEAN = [ECGSynthetic(), ECGSynthetic(split="patients"), ECGSynthetic(n=500), ECGSynthetic(positive="A")]
EVERY = [
    *CLEAN,
    *(pytest.param(ECG(split=s), marks=REAL) for s in ("clean", "patients")),
    pytest.param(ECG(positive="L"), marks=REAL),
    pytest.param(ECG(split="patients", positive="V"), marks=REAL),
]
AS_PUBLISHED = pytest.param(ECG(split="reference"), marks=REAL)


def parts(data: Data) -> tuple[Records, Records, Records]:
    return data.private, data.aux, data.test


def digest(data: Data) -> str:
    tensors = [t for p in parts(data) for t in (p.x, p.y, p.id, p.group) if t is not None]
    return sha256(b"".join(t.numpy().tobytes() for t in tensors)).hexdigest()


@pytest.mark.parametrize("dataset", EVERY, ids=str)
def test_no_record_is_in_two_parts(dataset: Dataset) -> None:
    for one, other in combinations(parts(dataset.load()), 2):
        assert not set(one.id.tolist()) & set(other.id.tolist())
        rows = {row.tobytes() for row in one.x.numpy()}  # by its samples too, whatever its identity
        assert not any(row.tobytes() in rows for row in other.x.numpy())


@pytest.mark.parametrize("dataset", [*EVERY, AS_PUBLISHED], ids=str)
def test_every_class_in_every_part_and_every_value_in_range(dataset: Dataset) -> None:
    data = dataset.load()
    assert data.in_shape == (1, 128)
    for part in parts(data):
        assert part.y.unique().tolist() == list(range(data.task.size))
        assert part.x.dtype == torch.float32
        assert 0 <= part.x.min() <= part.x.max() <= 1


@pytest.mark.parametrize("dataset", [ECGSynthetic(split="patients"), pytest.param(ECG(split="patients"), marks=REAL)])
def test_patients_split_shares_no_patient(dataset: Dataset) -> None:
    data = dataset.load()
    assert data.flags == ()
    private, aux, test = (set(p.group.tolist()) for p in parts(data) if p.group is not None)
    assert not private & aux | private & test | aux & test
    assert len(data.private) > len(data.aux) + len(data.test)


@pytest.mark.parametrize("dataset", [ECGSynthetic(), pytest.param(ECG(), marks=REAL)])
def test_clean_split_declares_shared_patients(dataset: Dataset) -> None:
    assert dataset.load().flags == ("patients-shared",)


@REAL
def test_clean_split_keeps_the_training_part_as_drawn_and_halves_each_class() -> None:
    clean, reference = ECG().load(), ECG(split="reference").load()
    assert torch.equal(clean.private.x, reference.private.x)
    assert len(clean.aux) == len(clean.aux.id.unique())
    assert len(clean.test) == len(clean.test.id.unique())
    counts = [part.y.bincount() for part in (clean.aux, clean.test)]
    assert (counts[0] - counts[1]).abs().max() <= 1
    assert set(clean.aux.id.tolist()) | set(clean.test.id.tolist()) == set(reference.aux.id.tolist())


@REAL
def test_reference_split_is_as_published() -> None:
    data = ECG(split="reference").load()
    assert data.flags == ("reference-split", "patients-shared")
    assert len(data.private) == len(data.test) == 13_245
    assert torch.isin(data.test.id, data.private.id).float().mean().item() == pytest.approx(0.278, abs=5e-4)
    assert not torch.isin(data.aux.id, data.private.id).any()
    assert data.test.y.bincount().tolist() == [3000, 3000, 3000, 1245, 3000]


@REAL
def test_two_records_of_one_person_are_one_patient() -> None:
    groups = ECG().load().private.group
    assert groups is not None
    assert len(groups.unique()) == 42
    assert 202 not in groups


FRESH = """
import sys; sys.path.insert(0, sys.argv[1])
from test_datasets import DIVISIONS, digest
print(digest(DIVISIONS[sys.argv[2]].load()))
"""


DIVISIONS: dict[str, Dataset] = {"synthetic": ECGSynthetic(), "patients": ECG(split="patients")}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["synthetic", pytest.param("patients", marks=REAL)])
def test_another_process_loads_the_same(name: str) -> None:
    np.random.seed(1)
    torch.manual_seed(1)
    here = digest(DIVISIONS[name].load())
    assert here == digest(DIVISIONS[name].load())
    command = [sys.executable, "-c", FRESH, str(Path(__file__).parent), name]
    there = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert here == there.stdout.strip()


@pytest.mark.parametrize("dataset", [ECGSynthetic(), pytest.param(ECG(split="patients"), marks=REAL)])
def test_binary_variant_only_renames_the_labels(dataset: Any) -> None:
    five, two = dataset.load(), replace(dataset, positive="R").load()
    assert two.task == Task("classes", 2)
    for one, other in zip(parts(five), parts(two), strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal((one.y == 2).long(), other.y)


def test_synthetic_mean_record_is_no_good_guess() -> None:
    data = ECGSynthetic().load()
    means = torch.stack([data.aux.x[data.aux.y == k].mean(0) for k in range(5)])
    class_mean = (data.test.x - means[data.test.y]).square().mean()
    noise = data.test.x.diff(n=3).square().mean() / 20  # third differences: 1 + 9 + 9 + 1 times white noise
    assert 0.005 < class_mean < 0.02  # 0.009 on the real beats
    assert class_mean > 50 * noise


def test_synthetic_sizes_are_as_asked() -> None:
    assert [len(p) for p in parts(ECGSynthetic(n=600).load())] == [600, 200, 200]
    with pytest.raises(ValidationError, match="greater than or equal to 500"):
        TypeAdapter(ECGSynthetic).validate_json('{"n": 5}')


# ---- bad files -------------------------------------------------------------------------------------------------


Arrays = dict[str, np.ndarray[Any, Any]]


def beats(part: str, n: int = 60, seed: int = 0) -> Arrays:
    """A small sound file: twelve patients with every class."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 1, 128), dtype=np.float32)
    made: Arrays = {
        "x": x,
        "y": np.arange(n) % 5,
        "record": 300 + np.arange(n) // 5,
        "rpeak": seed * 1000 + np.arange(n),
    }
    return {f"{key}_{part}": a for key, a in made.items()}


def write(folder: Path, file: str, arrays: Arrays) -> Path:
    with h5py.File(folder / file, "w") as opened:
        for key, a in arrays.items():
            opened[key] = a
    return folder / file


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Sound files directly in the folder; each test breaks one."""
    monkeypatch.setenv("SPLITLEAK_DATA", str(tmp_path))
    train = write(tmp_path, "train_ecg.hdf5", beats("train"))
    return train, write(tmp_path, "test_ecg.hdf5", beats("test", seed=1))


def refusal(dataset: Dataset, *names: object) -> str:
    with pytest.raises(BadInput) as caught:
        dataset.load()
    line = str(caught.value)
    assert "\n" not in line
    assert all(str(name) in line for name in names), line
    return line


@pytest.mark.parametrize("split", ["clean", "patients", "reference"])
def test_small_sound_files_load(files: tuple[Path, Path], split: Any) -> None:
    data = ECG(split=split).load()
    assert len(data.private) + len(data.aux) + len(data.test) == {"reference": 180}.get(split, 120)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("x_test", lambda a: np.where(a == a[3, 0, 5], np.nan, a), "1 values of x are NaN or infinite"),
        ("x_test", lambda a: np.where(a == a[3, 0, 5], np.inf, a), "1 values of x are NaN or infinite"),
        ("x_test", lambda a: a[:, 0], "x has shape (60, 128); it must be (n, 1, samples)"),
        ("x_test", lambda a: a[:0], "it must be (0,) whole numbers"),
        ("x_test", lambda a: a * 255, "records must be scaled to [0, 1]"),
        ("x_test", lambda a: a[..., :100], "beats of 100 samples, but of 128 in"),
        ("y_test", lambda a: a + 1, "y has label 5; legal: 0..4"),
        ("y_test", lambda a: a - 1, "y has label -1; legal: 0..4"),
        ("y_test", lambda a: a * 0.5, "y has shape (60,) of float64"),
        ("y_test", lambda a: a[:-1], "y has shape (59,) of int64; it must be (60,) whole numbers"),
        ("record_test", lambda a: a[:-1], "record has shape (59,)"),
    ],
)
def test_bad_arrays_are_one_line(files: tuple[Path, Path], key: str, value: Any, said: str) -> None:
    arrays = beats("test", seed=1)
    write(files[1].parent, "test_ecg.hdf5", {**arrays, key: value(arrays[key])})
    assert said in refusal(ECG(), f"{files[1]}: ")


def test_truncated_file(files: tuple[Path, Path]) -> None:
    files[0].write_bytes(files[0].read_bytes()[:9000])
    assert "truncated" in refusal(ECG(), f"{files[0]}: not a readable HDF5 file")


def test_file_that_is_no_hdf5(files: tuple[Path, Path]) -> None:
    files[1].write_text("record,beat\n")
    refusal(ECG(), f"{files[1]}: not a readable HDF5 file")


def test_foreign_hdf5_lists_what_is_there(files: tuple[Path, Path]) -> None:
    write(files[0].parent, "train_ecg.hdf5", {"weights": np.zeros(3), "bias": np.zeros(1)})
    refusal(ECG(), f"{files[0]}: no array of numbers x_train and no y_train", "bias, weights")


@pytest.mark.parametrize("part", ["train", "test"])
def test_class_missing_from_a_part(files: tuple[Path, Path], part: str) -> None:
    arrays = beats(part, seed=1 if part == "test" else 0)
    arrays[f"y_{part}"] = np.where(arrays[f"y_{part}"] == 3, 0, arrays[f"y_{part}"])
    file = write(files[0].parent, f"{part}_ecg.hdf5", arrays)
    refusal(ECG(), file, "no record of class 3 (classes are 0..4)", {"train": "private part", "test": "aux part"}[part])


def test_patients_split_needs_patients(files: tuple[Path, Path]) -> None:
    write(files[0].parent, "train_ecg.hdf5", {k: v for k, v in beats("train").items() if "record" not in k})
    refusal(ECG(split="patients"), files[0], "needs record_train and record_test")


def test_too_few_patients_for_the_patients_split(files: tuple[Path, Path]) -> None:
    for part, seed in (("train", 0), ("test", 1)):
        alone = {**beats(part, seed=seed), f"record_{part}": np.full(60, 300)}
        write(files[0].parent, f"{part}_ecg.hdf5", alone)
    refusal(
        ECG(split="patients"),
        files[0],
        "no division of the 1 people was found that puts every class into every part",
        "[24, 24, 24, 24, 24]",
    )


def test_without_record_numbers_a_beat_is_known_by_its_samples(files: tuple[Path, Path]) -> None:
    train, test = beats("train"), beats("test", seed=1)
    test["x_test"][:10] = train["x_train"][:10]
    for part, arrays in (("train", train), ("test", test)):
        bare = {k: v for k, v in arrays.items() if k[0] in "xy"}
        write(files[0].parent, f"{part}_ecg.hdf5", bare)
    data = ECG().load()
    assert data.private.group is None
    assert len(data.aux) + len(data.test) == 50
    assert data.private.id.min() >= 0


def test_the_message_on_missing_files_names_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPLITLEAK_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    places = [tmp_path / "mine" / "ecg", tmp_path / "data" / "ecg", tmp_path / "cache" / "splitleak" / "ecg"]
    line = refusal(ECG(), "train_ecg.hdf5", *places)
    assert "set SPLITLEAK_DATA" in line


def test_a_missing_half_is_named(files: tuple[Path, Path]) -> None:
    files[1].unlink()
    with pytest.raises(FilesMissing, match=r"test_ecg\.hdf5: no such file"):
        ECG().load()


def test_chosen_folder_comes_before_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPLITLEAK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for place in ("cache/splitleak", "data/d", "mine"):  # each comes before the one made earlier
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "f.hdf5").touch()
        if place == "mine":
            monkeypatch.setenv("SPLITLEAK_DATA", str(tmp_path / "mine"))
        assert find_file("d", "f.hdf5") == tmp_path / place / "f.hdf5"


# ---- checks that any dataset gets ------------------------------------------------------------------------------


def test_overlap_of_records_or_patients_is_refused() -> None:
    data = ECGSynthetic(n=500).load()
    with pytest.raises(BadInput, match="me: the private and aux parts share 166 records"):
        validate(replace(data, aux=data.private.take(torch.arange(166))), "me")
    with pytest.raises(BadInput, match=r"me: the private and aux parts share .* patients"):
        validate(replace(data, flags=()), "me")


def test_values_outside_the_range_are_refused() -> None:
    data = ECGSynthetic(n=500).load()
    with pytest.raises(BadInput, match="me: test part: values outside in_range"):
        validate(replace(data, test=replace(data.test, x=data.test.x + 1)), "me")


@pytest.mark.parametrize(("kind", "wanted"), [("mask", "masks"), ("value", r"values \(n, 2\)")])
def test_labels_must_suit_the_task(kind: Any, wanted: str) -> None:
    data = ECGSynthetic(n=500).load()
    floats = replace(data.private, y=data.private.y.float())
    with pytest.raises(BadInput, match=f"me: private part: y has shape .* must be {wanted}"):
        validate(replace(data, private=floats, task=Task(kind, 1 if kind == "mask" else 2)), "me")
