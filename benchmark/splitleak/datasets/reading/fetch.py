"""`splitleak fetch`: builds dataset files from the raw records of a public database."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from splitleak.contract.errors import BadInput, FilesMissing, did_you_mean
from splitleak.datasets.ecg import SYMBOLS
from splitleak.datasets.reading import mitbih_beats, pvc_beats
from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.locate import data_folders, find_file
from splitleak.datasets.reading.mitbih_beats import Heartbeats
from splitleak.datasets.reading.raw_files import Say, gather
from splitleak.store import alone_in, write

URL = "https://physionet.org/files/mitdb/1.0.0"
UNUSED = (102, 104, 107, 114, 217)  # four paced records, and 114, where MLII is not the first lead
RECORDS = tuple(record for record in mitbih_beats.ALL_RECORDS if record not in UNUSED)
COUNTS = (71_732, 8_036, 7_231, 2_491, 6_559)  # beats of each class in RECORDS, as published
DRAWN = (6_000, 6_000, 6_000, 2_490, 6_000)  # drawn from them with replacement: half for training, half for testing


def fetch(dataset: str, source: str | None, out: Path | None, say: Say, progress: bool = False) -> list[str]:
    """Build a dataset's files from `source` (folder, archive or address; None: PhysioNet); returns lines to print."""
    if dataset not in RECIPES:
        listed = ", ".join(RECIPES)
        raise BadInput(f"no dataset named '{dataset}' to fetch{did_you_mean(dataset, RECIPES)} (datasets: {listed})")
    folder = writable_folder("ecg") if out is None else out.expanduser().absolute()
    return RECIPES[dataset](source, folder, say, progress)


def writable_folder(dataset: str) -> Path:
    """The dataset's folder in the first data folder that can be written to; in ./data only if that exists."""
    *chosen, local, cache = data_folders()
    candidates = [*chosen, *([local] if local.is_dir() else [])]
    writable = (folder / dataset for folder in candidates if _is_writable(folder / dataset))
    return next(writable, cache / dataset).absolute()


def _is_writable(path: Path) -> bool:
    """Whether the nearest existing folder above (or at) the path can be written to."""
    nearest = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def fetch_mitbih(source: str | None, out: Path, say: Say, progress: bool) -> list[str]:
    """train_ecg.hdf5 and test_ecg.hdf5 of the dataset `ecg`: Abuadbba et al., AsiaCCS 2020."""
    with alone_in(out):
        raw = gather(mitbih_beats.checksums_of(RECORDS), source or URL, out / "mitdb", say, progress)
        beats = cut_published_beats(raw, progress)
        files = {part: out / f"{part}_ecg.hdf5" for part in ("train", "test")}
        rows = dict(zip(files, draw_published(beats.kind), strict=True))
        contents = {part: mitbih_beats.to_hdf5(beats.take(rows[part]), SYMBOLS, f"_{part}") for part in files}
        for part, file in files.items():
            write(file, contents[part])
    drawn = f"{sum(DRAWN) // 2} drawn for each of {files['train']} and {files['test']}"
    return [f"{len(beats.kind)} beats of {len(RECORDS)} records in {raw}; {drawn}", _advice("ecg", files["train"])]


def fetch_pvc(source: str | None, out: Path, say: Say, progress: bool) -> list[str]:
    """pvc.hdf5 of the dataset `ecg_pvc`: every N and V beat of the 44 records without a pacemaker."""
    with alone_in(out):
        raw = gather(mitbih_beats.checksums_of(pvc_beats.RECORDS), source or URL, out / "mitdb", say, progress)
        beats, file = pvc_beats.cut_pvc_beats(raw, progress), out / pvc_beats.FILE
        write(file, mitbih_beats.to_hdf5(beats, pvc_beats.SYMBOLS))
    line = f"{len(beats.kind)} beats of {len(pvc_beats.RECORDS)} records in {raw}, all in {file}"
    return [line, _advice("ecg_pvc", file)]


def cut_published_beats(raw: Path, progress: bool = False) -> Heartbeats:
    """All beats that the published set was drawn from."""
    parts = []
    for record in tqdm(RECORDS, disable=not progress, unit="record", desc="beats"):
        beats = mitbih_beats.cut_beats(raw, record, SYMBOLS)
        parts.append(beats._replace(x=mitbih_beats.resample_and_denoise(beats.x).astype(np.float32)))
    return mitbih_beats.check_counts(mitbih_beats.concatenate(parts), SYMBOLS, COUNTS, raw)


def draw_published(kind: Array) -> tuple[Array, Array]:
    """The rows of the published training and test part; both are drawn with replacement from all patients' beats."""
    rng = np.random.RandomState(2019)
    halves = []
    for k, n in enumerate(DRAWN):
        rows = np.flatnonzero(kind == k)
        halves.append(rows[rng.choice(len(rows), n)].reshape(2, -1))
    train, test = np.concatenate(halves, axis=1)
    order = np.arange(len(train))
    rng.shuffle(order)
    train = train[order]
    rng.shuffle(order)  # the order already shuffled is shuffled once more, as in the published draw
    return train, test[order]


def _advice(dataset: str, file: Path) -> str:
    """Whether the dataset finds the file in the current folder, and what to set if it does not."""
    folder = file.parent.parent if file.parent.name == "ecg" else file.parent
    setting = f"SPLITLEAK_DATA={shlex.quote(str(folder))}"
    try:
        found = find_file("ecg", file.name).resolve() == file.resolve()
    except FilesMissing:
        found = False
    if found:
        return f"the dataset '{dataset}' finds them when run in this folder; elsewhere: export {setting}"
    return f"for the dataset '{dataset}' to find them: export {setting}"


RECIPES: dict[str, Callable[[str | None, Path, Say, bool], list[str]]] = {"mitbih": fetch_mitbih, "pvc": fetch_pvc}
