"""Datasets built from raw records of public databases, in the files that the dataset plug-ins read."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from splitleak.contract.errors import BadInput, NotAtHand
from splitleak.datasets.ecg import BEATS
from splitleak.datasets.reading import mitbih as database
from splitleak.datasets.reading import premature, sources
from splitleak.datasets.reading.folder import Array, find, folders
from splitleak.datasets.reading.mitbih import Beats
from splitleak.datasets.reading.sources import Say
from splitleak.plan.plugins import did_you_mean
from splitleak.store import alone_in, write

URL = "https://physionet.org/files/mitdb/1.0.0"
RECORDS = tuple(r for r in database.ALL if r not in (102, 104, 107, 114, 217))  # paced, or lead MLII not first
COUNTS = (71_732, 8_036, 7_231, 2_491, 6_559)  # beats of each class in RECORDS, as published
DRAWN = (6_000, 6_000, 6_000, 2_490, 6_000)  # of them, with replacement: half to train, half to test


def fetch(dataset: str, source: str | None, out: Path | None, say: Say, progress: bool = False) -> list[str]:
    """Build a dataset's files from `source` (a folder, an archive, an address; PhysioNet by default); what to tell."""
    if dataset not in RECIPES:
        listed = ", ".join(RECIPES)
        raise BadInput(f"no dataset named '{dataset}' to fetch{did_you_mean(dataset, RECIPES)} (datasets: {listed})")
    return RECIPES[dataset](source, place("ecg") if out is None else out.expanduser().absolute(), say, progress)


def place(dataset: str) -> Path:
    """The first folder where the dataset is looked for that can be written to; ./data only if it exists."""
    *chosen, here, cache = folders()
    could = [*chosen, *([here] if here.is_dir() else [])]
    return next((folder / dataset for folder in could if _writable(folder / dataset)), cache / dataset).absolute()


def _writable(path: Path) -> bool:
    there = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def mitbih(source: str | None, out: Path, say: Say, progress: bool) -> list[str]:
    """train_ecg.hdf5 and test_ecg.hdf5 of the dataset `ecg`: Abuadbba et al., AsiaCCS 2020."""
    with alone_in(out):
        raw = sources.gather(database.sums(RECORDS), source or URL, out / "mitdb", say, progress)
        beats = read(raw, progress)
        files = {part: out / f"{part}_ecg.hdf5" for part in ("train", "test")}
        rows = dict(zip(files, draw(beats.kind), strict=True))
        whole = {part: database.hdf5(beats.take(rows[part]), BEATS, f"_{part}") for part in files}
        for part, file in files.items():
            write(file, whole[part])
    drawn = f"{sum(DRAWN) // 2} drawn for each of {files['train']} and {files['test']}"
    return [f"{len(beats.kind)} beats of {len(RECORDS)} records in {raw}; {drawn}", _advice("ecg", files["train"])]


def pvc(source: str | None, out: Path, say: Say, progress: bool) -> list[str]:
    """pvc.hdf5 of the dataset `ecg_pvc`: every N and V beat of the 44 records without a pacemaker."""
    with alone_in(out):
        raw = sources.gather(database.sums(premature.RECORDS), source or URL, out / "mitdb", say, progress)
        beats, file = premature.read(raw, progress), out / premature.FILE
        write(file, database.hdf5(beats, premature.KINDS))
    told = f"{len(beats.kind)} beats of {len(premature.RECORDS)} records in {raw}, all in {file}"
    return [told, _advice("ecg_pvc", file)]


def read(raw: Path, progress: bool = False) -> Beats:
    """All beats of the published set."""
    parts = []
    for record in tqdm(RECORDS, disable=not progress, unit="record", desc="beats"):
        beats = database.cut(raw, record, BEATS)
        parts.append(beats._replace(x=database.smooth(beats.x).astype(np.float32)))
    return database.counted(database.together(parts), BEATS, COUNTS, raw)


def draw(kind: Array) -> tuple[Array, Array]:
    """The rows of the published training and test part; both are drawn from everyone's beats, with replacement."""
    rng = np.random.RandomState(2019)
    halves = []
    for k, n in enumerate(DRAWN):
        rows = np.flatnonzero(kind == k)
        halves.append(rows[rng.choice(len(rows), n)].reshape(2, -1))
    train, test = np.concatenate(halves, axis=1)
    order = np.arange(len(train))
    rng.shuffle(order)
    train = train[order]
    rng.shuffle(order)  # what was shuffled, again
    return train, test[order]


def _advice(dataset: str, file: Path) -> str:
    """Does the dataset find the file, and what to set if not."""
    folder = file.parent.parent if file.parent.name == "ecg" else file.parent
    setting = f"SPLITLEAK_DATA={shlex.quote(str(folder))}"
    try:
        found = find("ecg", file.name).resolve() == file.resolve()
    except NotAtHand:
        found = False
    if found:
        return f"the dataset '{dataset}' finds them from here; from elsewhere: export {setting}"
    return f"for the dataset '{dataset}' to find them: export {setting}"


RECIPES: dict[str, Callable[[str | None, Path, Say, bool], list[str]]] = {"mitbih": mitbih, "pvc": pvc}
