"""Properties that datasets name: of the people of MIT-BIH, and pneumonia where the task is segmentation."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from splitleak.contract import Data
from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets.cxr_lung import CXRLung
from splitleak.datasets.ecg import ECG
from splitleak.datasets.ecg_synthetic import ECGSynthetic
from splitleak.datasets.reading import mitbih_people
from splitleak.datasets.reading.locate import find_file
from splitleak.datasets.reading.mitbih_people import Person, person_of, read_people


def found(file: str, dataset: str) -> bool:
    try:
        return bool(find_file(dataset, file))
    except FilesMissing:
        return False


REAL = pytest.mark.skipif(not found("mitdb48.txz", "ecg"), reason="no headers: set SPLITLEAK_DATA to their folder")
XRAYS = pytest.mark.skipif(not found("cxr_lung_64.npz", "packs64"), reason="no real X-rays")
HEADER = "100 2 360 650000\r\n100.dat 212 200 11 1024 995 -22131 0 MLII\r\n# {} {} 1085 1629 x1\r\n# Aldomet\r\n"


@pytest.mark.parametrize(
    ("age", "sex", "person"), [("69", "M", Person(69, "M")), ("0", "F", Person(0, "F")), ("-1", "M", Person(None, "M"))]
)
def test_age_and_sex_are_read_from_a_header(age: str, sex: str, person: Person) -> None:
    assert person_of(HEADER.format(age, sex), "who") == person
    assert person_of(HEADER.format(age, sex).replace("\r", ""), "who") == person


@pytest.mark.parametrize("comment", ["", "# Aldomet", "# 69 X 1085", "# M 69"])
def test_a_header_without_age_and_sex_is_a_line(comment: str) -> None:
    with pytest.raises(BadInput, match="who does not say age and sex; legal: a comment such as '# 69 M 1085"):
        person_of(f"100 2 360 650000\n{comment}\n", "who")


def answers(data: Data) -> dict[int, int]:
    """The answer for each person; each has one."""
    parts = (data.private, data.aux, data.test)
    pairs = {pair for p in parts for pair in zip(p.group.tolist(), p.property.tolist(), strict=True)}  # type: ignore[union-attr]
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


@pytest.mark.slow
@REAL
def test_age_leaves_out_who_has_none_and_sex_keeps_all_in_the_same_parts() -> None:
    usual, sex, age = (ECG(split="patients", property=p).load() for p in (None, "sex", "age"))  # type: ignore[arg-type]
    assert usual.private.property is None
    for one, other in ((usual.private, sex.private), (usual.aux, sex.aux), (usual.test, sex.test)):
        assert torch.equal(one.x, other.x)
    by_sex, by_age = answers(sex), answers(age)
    assert (by_sex[100], by_sex[101]) == (0, 1)  # 69 M, 75 F
    assert (by_age[100], by_age[106], by_age[213]) == (1, 0, 0)  # 69, 24 and 61 years
    assert by_sex.keys() - by_age.keys() == {103, 219}
    assert sum(by_age.values()) == len(by_age) / 2 == 20  # 65 is the median
    assert "2 of 42 patients left out: their headers tell no age" in age.notes[0]
    assert sex.notes == ()
    assert ECG(split="patients").spec("ecg") == {"name": "ecg", "split": "patients", "positive": None}  # keys stay


@pytest.mark.slow
@REAL
def test_an_archive_says_the_same_as_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = find_file("ecg", "mitdb48.txz")
    folder = shipped.parent / "mitdb"
    monkeypatch.setenv("SPLITLEAK_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(FilesMissing, match=r"who: no headers \(100\.hea, \.\.\.\) in mitdb/.*splitleak fetch mitbih"):
        read_people([100, 109], "who")
    (tmp_path / "mitdb").mkdir()
    for name in ("100.hea", "109.hea"):
        shutil.copy(folder / name, tmp_path / "mitdb" / name)
    one = read_people([100, 109], "who")
    assert one == {100: Person(69, "M"), 109: Person(64, "M")}
    (tmp_path / "mitdb" / "109.hea").unlink()
    (tmp_path / "mitdb48.txz").symlink_to(shipped)
    assert read_people([100, 109], "who") == one
    (tmp_path / "mitdb" / "109.hea").write_text(HEADER.format(20, "F"))
    with pytest.raises(BadInput, match=r"who: '109\.hea' is damaged: sha256"):
        read_people([100, 109], "who")


def test_a_record_that_the_database_does_not_have_is_a_line() -> None:
    with pytest.raises(BadInput, match="who: the database has no record 300, 301, so no age and no sex"):
        read_people([301, 300], "who")


def test_a_property_needs_the_numbers_of_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLITLEAK_DATA", str(tmp_path))
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        with h5py.File(tmp_path / f"{part}_ecg.hdf5", "w") as file:
            file[f"x_{part}"], file[f"y_{part}"] = rng.random((60, 1, 128)), np.arange(60) % 5
    with pytest.raises(BadInput, match="a property needs record_train and record_test, which are not in these files"):
        ECG(property="age").load()


def test_simulated_patients_are_tall_or_not_and_their_beats_stay_what_they_were() -> None:
    usual, tall = ECGSynthetic(n=500, split="patients"), ECGSynthetic(n=500, split="patients", property="tall")
    assert torch.equal(usual.load().private.x, tall.load().private.x)
    found = answers(tall.load())
    assert sum(found.values()) == 25
    peak = {p: [] for p in (0, 1)}  # type: dict[int, list[float]]
    data = tall.load().private
    for x, answer in zip(data.x, data.property.tolist(), strict=True):  # type: ignore[union-attr]
        peak[answer].append(float(x.max() - x.min()))
    assert np.mean(peak[1]) > np.mean(peak[0]) + 0.05


@XRAYS
def test_pneumonia_is_a_property_of_lungs_whose_task_is_their_mask() -> None:
    usual, named = CXRLung(layout="pack").load(), CXRLung(layout="pack", property="pneumonia").load()
    assert usual.private.property is None
    assert torch.equal(usual.private.x, named.private.x)
    assert named.task.kind == "mask"
    for part in (named.private, named.aux, named.test):
        assert set(part.property.tolist()) == {0, 1}  # type: ignore[union-attr]


def test_folders_of_masks_tell_no_pneumonia(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: Callable[..., Any] = lambda *args: ("kaggle", Path("CXR_png"))  # noqa: E731
    monkeypatch.setattr("splitleak.datasets.cxr_lung.find_layout", chosen)
    with pytest.raises(BadInput, match=r"the layout kaggle does not tell pneumonia \(legal: prepared, pack\)"):
        CXRLung(property="pneumonia").load()


def test_the_age_that_parts_people_is_stated() -> None:
    assert mitbih_people.OLDER_THAN == 65
    assert mitbih_people.ANSWERS["age"](Person(65, "F")) is False
    assert mitbih_people.ANSWERS["age"](Person(66, "F")) is True
