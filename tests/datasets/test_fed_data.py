"""Datasets of the published federated systems: premature beats, real and synthetic, and house prices."""

from __future__ import annotations

import re
import sys
import tarfile
from collections.abc import Callable
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import wfdb

import splitleak
from splitleak.contract import Data, Dataset, Records
from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets.boston_housing import BostonHousing
from splitleak.datasets.ecg_pvc import ECGPVC
from splitleak.datasets.ecg_pvc_synthetic import ECGPVCSynthetic
from splitleak.datasets.reading import locate, mitbih_beats, pvc_beats
from splitleak.plan.settings import Clients
from splitleak.train.division import divide

MARKS = [(30, "+"), (150, "N"), (400, "N"), (600, "V"), (800, "/"), (1000, "L"), (1300, "V"), (1391, "N"),
         (1700, "N"), (1792, "V"), (2200, "N"), (2500, "N"), (2700, "+")]  # fmt: skip
KEPT = [(400, 0), (600, 1), (1700, 0), (1792, 1), (2200, 0)]  # 92 apart is enough, 91 is not; R peak and label


def parts(data: Data) -> tuple[Records, Records, Records]:
    return data.private, data.aux, data.test


def same(one: Data, other: Data) -> bool:
    pairs = zip(parts(one), parts(other), strict=True)
    return all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and torch.equal(a.id, b.id) for a, b in pairs)


def refused(dataset: Dataset) -> str:
    with pytest.raises(BadInput) as caught:
        dataset.load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Raw records --------------------------------------------------------------------------------------


def write_record(folder: Path, record: int, leads: list[str]) -> np.ndarray[Any, Any]:
    """A noisy WFDB record with MARKS; its lead MLII in the recorder's units."""
    wave = np.random.default_rng(record).integers(600, 1400, (3600, 2))
    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        str(record), fs=360, units=["mV"] * 2, sig_name=leads, d_signal=wave, fmt=["212"] * 2, adc_gain=[200, 200],
        baseline=[1024, 1024], write_dir=str(folder),
    )  # fmt: skip
    at, symbols = zip(*MARKS, strict=True)
    wfdb.wrann(str(record), "atr", np.array(at), list(symbols), write_dir=str(folder))
    return wave[:, leads.index("MLII")]


def published(file: Path) -> bytes:
    content = file.read_bytes()
    return content.replace(b"\n", b"\r\n") if file.suffix == ".hea" else content


PEOPLE = tuple(range(900, 912))


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """mine/ecg/mitdb with the records of twelve people, which are the whole database here; SPLITLEAK_DATA is mine."""
    folder = tmp_path / "mine" / "ecg" / "mitdb"
    for record in PEOPLE:
        write_record(folder, record, ["V5", "MLII"] if record == 900 else ["MLII", "V1"])
    lines = [f"{sha256(published(f)).hexdigest()}  {f.name}\n" for f in sorted(folder.iterdir())]
    (tmp_path / "sums").write_text("".join(lines))
    monkeypatch.setattr(mitbih_beats, "CHECKSUMS", tmp_path / "sums")
    monkeypatch.setattr(pvc_beats, "RECORDS", PEOPLE)
    monkeypatch.setattr(pvc_beats, "COUNTS", (36, 24))
    monkeypatch.setenv("SPLITLEAK_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return folder


def packed(raw: Path) -> Path:
    """The archive instead of the folder, of which one record is left."""
    archive = raw.parent / "mitdb48.txz"
    with tarfile.open(archive, "w:xz") as opened:
        for file in sorted(raw.iterdir()):
            opened.add(file, file.name)
    for file in raw.iterdir():
        if file.stem != "900":
            file.unlink()
    return archive


def test_a_beat_lies_in_the_middle_of_185_samples_of_lead_mlii(tmp_path: Path, raw: Path) -> None:
    wave = write_record(tmp_path, 900, ["V5", "MLII"])
    scaled = (wave - wave.min()) / (wave.max() - wave.min())
    beats = pvc_beats.cut_pvc_beats(raw)
    mine = beats.take(np.flatnonzero(beats.record == 900))
    assert [*zip(mine.rpeak.tolist(), mine.kind.tolist(), strict=True)] == KEPT
    for x, at in zip(mine.x, mine.rpeak, strict=True):
        np.testing.assert_allclose(x, scaled[at - 92 : at + 93], atol=1e-12)


def test_44_records_have_no_pacemaker_and_are_used() -> None:
    assert len(pvc_beats.RECORDS) == 44
    assert not {102, 104, 107, 217} & {*pvc_beats.RECORDS}


def test_fetch_pvc_builds_what_the_dataset_reads(raw: Path, main: Callable[..., Any], tmp_path: Path) -> None:
    ran = main("fetch", "pvc", "--from", str(raw), "--out", str(tmp_path / "o"))
    assert ran.status == 0
    assert f"60 beats of 12 records in {raw}, all in {tmp_path / 'o' / 'pvc.hdf5'}" in ran.out
    assert f"for the dataset 'ecg_pvc' to find them: export SPLITLEAK_DATA={tmp_path / 'o'}" in ran.out
    with h5py.File(tmp_path / "o" / "pvc.hdf5") as file:
        assert {k: (v.shape, v.dtype.str[1:]) for k, v in file.items()} == {
            "x": ((60, 1, 185), "f4"), "y": ((60,), "i8"), "record": ((60,), "i2"), "rpeak": ((60,), "i4"),
        }  # fmt: skip
    built = ECGPVC().load()
    main("fetch", "pvc", "--from", str(raw))
    assert (raw.parent / "pvc.hdf5").is_file()  # where the dataset looks first
    again = ECGPVC().load()
    assert same(built, again)
    assert again.notes == ()


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_raw_records_are_cut_once_and_kept_in_the_cache_folder(raw: Path, tmp_path: Path, kind: str) -> None:
    source = raw if kind == "folder" else packed(raw)
    kept = tmp_path / "cache" / "splitleak" / "ecg" / "pvc.hdf5"
    first = ECGPVC().load()
    assert first.notes == (f"dataset 'ecg_pvc': built from {source}, kept in {kept}",)
    assert [f.name for f in kept.parent.iterdir()] == ["pvc.hdf5"]
    source.rename(tmp_path / "gone")
    second = ECGPVC().load()
    assert same(first, second)
    assert second.notes == ()


def test_a_cache_folder_that_cannot_be_written_costs_only_time(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    data = ECGPVC().load()
    assert len(data.private) + len(data.aux) + len(data.test) == 60
    assert data.notes == (f"dataset 'ecg_pvc': built from {raw}",)


def test_without_any_file_the_message_names_the_command(raw: Path, tmp_path: Path) -> None:
    (raw / "905.dat").unlink()  # no complete folder
    with pytest.raises(FilesMissing) as caught:
        ECGPVC().load()
    places = [tmp_path / "mine" / "ecg", tmp_path / "data" / "ecg", tmp_path / "cache" / "splitleak" / "ecg"]
    assert all(str(place) in str(caught.value) for place in places)
    assert re.search(r"'ecg_pvc': no file pvc.hdf5 in .*SPLITLEAK_DATA.* splitleak fetch pvc$", str(caught.value))


def test_damaged_raw_records_are_named(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pvc_beats, "COUNTS", (36, 25))
    assert re.search(r"60 beats \(N 36, V 24\); published are 61 \(N 36, V 25\)$", refused(ECGPVC()))
    archive = packed(raw)
    archive.write_bytes(archive.read_bytes()[:2000])
    assert refused(ECGPVC()).startswith(f"dataset 'ecg_pvc': '{archive}': cannot be read as a tar or zip archive")


# Beats in three parts -----------------------------------------------------------------------------

Arrays = dict[str, np.ndarray[Any, Any]]


def beats(n: int = 3000) -> Arrays:
    """Thirty people from record 201 on; a tenth of the beats are V, none of them of every third person."""
    rng = np.random.default_rng(0)
    record = 201 + rng.integers(0, 30, n)
    y = (rng.random(n) < 0.15) & (record % 3 > 0)
    x = rng.random((n, 1, 185), dtype=np.float32)
    return {"x": x, "y": y.astype(np.int64), "record": record, "rpeak": 100 * np.arange(n)}


def write(folder: Path, arrays: Arrays) -> Path:
    with h5py.File(folder / "pvc.hdf5", "w") as opened:
        for key, a in arrays.items():
            opened[key] = a
    return folder / "pvc.hdf5"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPLITLEAK_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write(tmp_path, beats())


def promises(data: Data, split: str) -> None:
    """No beat in two parts, no patient either unless the flags say so, about 60, 20 and 20 % of both classes."""
    assert data.flags == (() if split == "patients" else ("patients-shared",))
    for one, other in combinations(parts(data), 2):
        assert not set(one.id.tolist()) & set(other.id.tolist())
        assert one.group is not None
        assert other.group is not None
        shared = set(one.group.tolist()) & set(other.group.tolist())
        assert bool(shared) is (split == "clean")
    counts = torch.stack([part.y.bincount(minlength=2) for part in parts(data)]).double()
    torch.testing.assert_close((counts / counts.sum(0)).T, torch.tensor([[0.6, 0.2, 0.2]] * 2).double(),
                               rtol=0, atol=0.03)  # fmt: skip


@pytest.mark.parametrize("split", ["patients", "clean"])
def test_both_splits_keep_what_they_promise(file: Path, split: Any) -> None:
    data = ECGPVC(split).load()
    promises(data, split)
    assert sum(map(len, parts(data))) == 3000
    assert all(202 not in part.group for part in parts(data) if part.group is not None)  # 201 is the same person


def test_another_draw_deals_patients_and_beats_anew(file: Path) -> None:
    for split in ("patients", "clean"):
        one, other = ECGPVC(split, draw=0).load(), ECGPVC(split, draw=1).load()
        promises(other, split)
        assert set(one.test.id.tolist()) != set(other.test.id.tolist())


@pytest.mark.parametrize("split", ["patients", "clean"])
def test_n_beats_are_drawn_class_by_class_and_fewer_are_among_more(file: Path, split: Any) -> None:
    few, more, every = (ECGPVC(split, n).load() for n in (500, 900, 100_000))
    for p, n in enumerate((500, 166, 166)):
        small, larger, whole = (parts(data)[p] for data in (few, more, every))
        assert abs(len(small) - n) <= 1
        assert set(small.id.tolist()) < set(larger.id.tolist()) < set(whole.id.tolist())
        assert small.y.double().mean() == pytest.approx(whole.y.double().mean().item(), abs=1 / n)


def test_hospitals_have_patients_of_their_own(file: Path) -> None:
    data = ECGPVC(n=900).load()
    hospitals = divide(data.private, Clients(3), data.task, seed=0)
    assert sum(map(len, hospitals)) == len(data.private)
    for one, other in combinations(hospitals, 2):
        assert one.group is not None
        assert other.group is not None
        assert not set(one.group.tolist()) & set(other.group.tolist())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("x", lambda a: a[:, 0], r"x has shape \(3000, 185\); it must be \(n, 1, samples\)"),
        ("x", lambda a: a[..., :128], "beats of 128 samples; must be 185"),
        ("x", lambda a: a * 100, r"x runs from .* records must be scaled to \[0, 1\]"),
        ("x", lambda a: np.where(a == a[7, 0, 9], np.nan, a), "1 values of x are NaN or infinite"),
        ("y", lambda a: a + 1, "y has label 2; legal: 0..1"),
        ("y", lambda a: a * 0, "no division of the 29 people was found that puts every class into every part"),
        ("y", lambda a: a[1:], r"y has shape \(2999,\)"),
        ("rpeak", lambda a: a * 0 + 5, "2970 beats have the record and rpeak of another one"),
        ("record", None, "no array of numbers record in it; it has: rpeak, x, y"),
    ],
)
def test_a_file_with_odd_contents_is_one_line_that_names_it(file: Path, key: str, value: Any, message: str) -> None:
    arrays = beats()
    arrays = {k: a for k, a in arrays.items() if k != key} | ({key: value(arrays[key])} if value else {})
    write(file.parent, arrays)
    said = refused(ECGPVC())
    assert str(file) in said
    assert re.search(message, said)


def test_a_file_that_ends_early_is_named(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])
    assert f"{file}: not a readable HDF5 file" in refused(ECGPVC())


def files_found() -> bool:
    try:
        return bool(locate.find_file("ecg_pvc", pvc_beats.FILE, pvc_beats.FOLDER))
    except FilesMissing:
        return pvc_beats.find_raw_records() is not None


REAL = pytest.mark.skipif(not files_found(), reason="no MIT-BIH: set SPLITLEAK_DATA to its folder")


@REAL
@pytest.mark.slow
@pytest.mark.parametrize("split", ["patients", "clean"])
def test_real_beats_keep_what_both_splits_promise(split: Any) -> None:
    whole, some = ECGPVC(split, n=100_000).load(), ECGPVC(split).load()
    assert torch.stack([part.y.bincount() for part in parts(whole)]).sum(0).tolist() == [73_762, 6_732]
    people = torch.cat([part.group for part in parts(whole) if part.group is not None])
    assert len(people.unique()) == 42  # 202 is 201, and 232 has neither N nor V
    promises(whole, split)
    promises(some, split)
    assert [len(part) for part in parts(some)] == [20_000, 6_666, 6_666]
    peak = whole.private.x[whole.private.y == 0].mean(0)[0]
    assert abs(int(peak.argmax()) - 92) <= 1


# Synthetic beats -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["patients", "clean"])
def test_synthetic_beats_have_shape_classes_and_patients_of_the_real_beats(split: Any) -> None:
    data = ECGPVCSynthetic(split).load()
    promises(data, split)
    assert data.in_shape == (1, 185)
    assert [len(part) for part in parts(data)] == [4000, 1333, 1333]
    assert same(data, ECGPVCSynthetic(split).load())
    for part in parts(data):
        assert part.y.double().mean() == pytest.approx(6732 / 80494, abs=2e-3)
    peak = data.private.x[data.private.y == 0].mean(0)[0]
    assert abs(int(peak.argmax()) - 92) <= 1


@pytest.mark.slow
def test_synthetic_premature_beats_are_learned(tmp_path: Path) -> None:
    axes = {"dataset": [{"name": "ecg_pvc_synthetic", "n": 2000}], "model": ["ecg_pvc_net"], "protocol": ["central"]}
    (record,) = splitleak.run({"matrix": axes, "train": {"epochs": 5}}, tmp_path)
    assert record["utility"] > 0.98 > record["utility_floor"] + 0.05
    assert record["utility_also"]["balanced_accuracy"] > 0.9


# House prices -------------------------------------------------------------------------------------


def mlxtend_installed() -> bool:
    try:
        import mlxtend  # noqa: F401
    except ImportError:
        return False
    return True


PRICES = pytest.mark.skipif(not mlxtend_installed(), reason="mlxtend is not installed: pip install 'splitleak[fed]'")


@PRICES
def test_404_rows_train_102_test_and_another_draw_takes_others() -> None:
    drawn = [BostonHousing(draw=k).load() for k in (0, 0, 1)]
    assert [[len(part) for part in parts(data)] for data in drawn] == [[242, 162, 102]] * 3
    assert same(drawn[0], drawn[1])
    assert set(drawn[0].test.id.tolist()) != set(drawn[2].test.id.tolist())
    assert set(torch.cat([part.id for part in parts(drawn[0])]).tolist()) == set(range(506))
    kept = BostonHousing(aux=0.01).load()
    assert [len(part) for part in parts(kept)] == [400, 4, 102]
    assert torch.equal(kept.test.x, drawn[0].test.x)  # whoever the others go to


@PRICES
def test_columns_are_scaled_by_the_training_rows_alone_and_prices_not_at_all() -> None:
    data, raw = BostonHousing().load(), BostonHousing("raw").load()
    train, whole = (torch.cat([d.private.x, d.aux.x]).double() for d in (data, raw))
    torch.testing.assert_close(train.mean(0), torch.zeros(13).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.ones(13).double(), atol=1e-5, rtol=0)
    assert data.in_range == (float(train.min()), float(train.max()))
    assert raw.in_range == (0.0, 711.0)
    torch.testing.assert_close(train, (whole - whole.mean(0)) / whole.std(0, correction=0), atol=1e-4, rtol=1e-4)
    assert torch.equal(data.private.y, raw.private.y)
    assert (data.private.y.min(), data.private.y.max()) == (5, 50)


@pytest.mark.slow
@PRICES
def test_prices_are_learned_from_scaled_columns_and_training_on_raw_ones_diverges(tmp_path: Path) -> None:
    def trained(scale: str, **train: Any) -> dict[str, Any]:
        axes = {"dataset": [{"name": "boston_housing", "scale": scale}], "protocol": ["central"],
                "model": [{"name": "mlp", "hidden": [[32, 24, 16]]}]}  # fmt: skip
        (record,) = splitleak.run({"matrix": axes, "train": {"batch_size": 8} | train}, tmp_path / scale)
        return record

    learned = trained("standard", epochs=30)
    assert learned["utility_also"]["mse"] < 30  # of a constant answer: 85
    assert trained("raw", epochs=1, optimizer="sgd", lr=1e-3, momentum=0.0)["status"] == "diverged"


def test_without_mlxtend_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(FilesMissing, match=r"^dataset 'boston_housing': .*mlxtend: pip install 'splitleak\[fed\]'$"):
        BostonHousing().load()


@pytest.mark.parametrize(
    ("shape", "message"), [((506, 12), r"x \(506, 12\) and y \(506,\); must be"), ((400, 13), r"x \(400, 13\)")]
)
def test_another_table_under_that_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], message: str
) -> None:
    shipped = SimpleNamespace(boston_housing_data=lambda: (np.zeros(shape), np.zeros(shape[0])))
    monkeypatch.setitem(sys.modules, "mlxtend.data", shipped)
    assert re.search(message, refused(BostonHousing()))
