"""The beats of `ecg_pvc`, from its file or cut from the raw MIT-BIH records: ventricular premature against normal.

AAMI's recommended practice (ANSI/AAMI EC57) leaves records of paced hearts out.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tqdm import tqdm

from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets.reading import mitbih_beats
from splitleak.datasets.reading.array_files import Array, read_hdf5
from splitleak.datasets.reading.locate import cache_folder, find_file, search_places
from splitleak.datasets.reading.mitbih_beats import Heartbeats
from splitleak.datasets.reading.raw_files import gather
from splitleak.store import write

FILE, FOLDER = "pvc.hdf5", "ecg"  # beside the files of the dataset `ecg`
ARCHIVES = ("mitdb48.txz", "mit-bih-arrhythmia-database-1.0.0.zip")
PACED = (102, 104, 107, 217)
RECORDS = tuple(record for record in mitbih_beats.ALL_RECORDS if record not in PACED)
SYMBOLS = "NV"  # y = 0, 1
LEAD, MARGIN = "MLII", 92  # samples on each side of the R peak: 185 in all, 0.51 s at 360 Hz
COUNTS = (73_762, 6_732)  # beats with each symbol


class PVCBeats(NamedTuple):
    """Arrays x (n, 1, 185), y, record and rpeak; the file that holds them; notes for the run's record."""

    arrays: dict[str, Array]
    file: Path
    notes: tuple[str, ...] = ()


def cut_pvc_beats(folder: Path, progress: bool = False) -> Heartbeats:
    """Every N and V beat of the 44 records without a pacemaker."""
    records = tqdm(RECORDS, disable=not progress, unit="record", desc="beats")
    parts = (mitbih_beats.cut_beats(folder, record, SYMBOLS, MARGIN, LEAD) for record in records)
    return mitbih_beats.check_counts(mitbih_beats.concatenate(parts), SYMBOLS, COUNTS, folder)


def load_or_build() -> PVCBeats:
    """The beats from their file, else built from raw records in the same places; else FilesMissing with what to do."""
    try:
        file = find_file("ecg_pvc", FILE, FOLDER)
    except FilesMissing:
        if source := find_raw_records():
            return _build(source)
        raise
    return PVCBeats(read_hdf5(file, "", ("x", "y", "record", "rpeak"), ()), file)


def find_raw_records() -> Path | None:
    """A folder that holds all raw records, or else an archive of them."""
    wanted = mitbih_beats.checksums_of(RECORDS)
    places = search_places(FOLDER)
    folders = (place / "mitdb" for place in places if all((place / "mitdb" / name).is_file() for name in wanted))
    archives = (place / name for place in places for name in ARCHIVES if (place / name).is_file())
    return next(folders, None) or next(archives, None)


def _build(source: Path) -> PVCBeats:
    """Cut the beats from raw records and keep them in the user's cache folder, where `find_file` looks next time."""
    cached = cache_folder() / FOLDER / FILE
    try:
        with TemporaryDirectory() as folder:
            wanted = mitbih_beats.checksums_of(RECORDS)
            beats = cut_pvc_beats(gather(wanted, str(source), Path(folder), lambda line: None))
    except BadInput as error:
        raise BadInput(f"dataset 'ecg_pvc': {str(error).removeprefix('--from ')}") from error
    note = f"dataset 'ecg_pvc': built from {source}"
    try:
        write(cached, mitbih_beats.to_hdf5(beats, SYMBOLS))
        note += f", kept in {cached}"
    except BadInput:  # a cache folder that cannot be written to costs time only: beats are cut again on each load
        pass
    arrays = {"x": beats.x[:, None], "y": beats.kind, "record": beats.record, "rpeak": beats.rpeak}
    return PVCBeats(arrays, cached, (note,))
