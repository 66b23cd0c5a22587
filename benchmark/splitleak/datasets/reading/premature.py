"""The beats of `ecg_pvc`: from its file, or cut from the raw MIT-BIH records where only those are at hand.

Ventricular premature beats against normal ones; AAMI's recommended practice (ANSI/AAMI EC57) leaves paced records out.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tqdm import tqdm

from splitleak.contract.errors import BadInput, NotAtHand
from splitleak.datasets.reading import mitbih
from splitleak.datasets.reading.folder import Array, cache_folder, find, hdf5, nearby
from splitleak.datasets.reading.mitbih import Beats
from splitleak.datasets.reading.sources import gather
from splitleak.store import write

FILE, FOLDER = "pvc.hdf5", "ecg"  # beside the files of the dataset `ecg`
ARCHIVES = ("mitdb48.txz", "mit-bih-arrhythmia-database-1.0.0.zip")
PACED = (102, 104, 107, 217)
RECORDS = tuple(record for record in mitbih.ALL if record not in PACED)
KINDS = "NV"  # y = 0, 1
LEAD, REACH = "MLII", 92  # samples on either side of the R peak: 185 in all, 0.51 s at 360 Hz
COUNTS = (73_762, 6_732)  # beats of each kind


class Found(NamedTuple):
    """Arrays x (n, 1, 185), y, record and rpeak; the file they are from, and what a run should tell of it."""

    arrays: dict[str, Array]
    file: Path
    notes: tuple[str, ...] = ()


def read(folder: Path, progress: bool = False) -> Beats:
    """Every N and V beat of the records without a pacemaker."""
    records = tqdm(RECORDS, disable=not progress, unit="record", desc="beats")
    beats = mitbih.together(mitbih.cut(folder, record, KINDS, REACH, LEAD) for record in records)
    return mitbih.counted(beats, KINDS, COUNTS, folder)


def at_hand() -> Found:
    """From the file, else from the raw records beside where it would be; NotAtHand tells how to get it."""
    try:
        file = find("ecg_pvc", FILE, FOLDER)
    except NotAtHand:
        if source := raw():
            return _built(source)
        raise
    return Found(hdf5(file, "", ("x", "y", "record", "rpeak"), ()), file)


def raw() -> Path | None:
    """Where the raw records lie: a folder that holds all, or else an archive."""
    wanted = mitbih.sums(RECORDS)
    places = nearby(FOLDER)
    whole = (place / "mitdb" for place in places if all((place / "mitdb" / name).is_file() for name in wanted))
    packed = (place / name for place in places for name in ARCHIVES if (place / name).is_file())
    return next(whole, None) or next(packed, None)


def _built(source: Path) -> Found:
    """From raw records, once: the file stays in the user's cache folder, where it is found the next time."""
    kept = cache_folder() / FOLDER / FILE
    try:
        with TemporaryDirectory() as folder:
            beats = read(gather(mitbih.sums(RECORDS), str(source), Path(folder), lambda said: None))
    except BadInput as error:
        raise BadInput(f"dataset 'ecg_pvc': {str(error).removeprefix('--from ')}") from error
    told = f"dataset 'ecg_pvc': built from {source}"
    try:
        write(kept, mitbih.hdf5(beats, KINDS))
        told += f", kept in {kept}"
    except BadInput:  # a folder that cannot be written costs the time of building, nothing else
        pass
    arrays = {"x": beats.x[:, None], "y": beats.kind, "record": beats.record, "rpeak": beats.rpeak}
    return Found(arrays, kept, (told,))
