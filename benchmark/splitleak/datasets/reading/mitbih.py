"""Heartbeats cut from the raw WFDB records of the MIT-BIH Arrhythmia Database, and the filter of the published set.

Moody & Mark, 2001: half an hour at 360 Hz a record, every beat annotated at its R peak. Cutting and filtering as in
Abuadbba et al., AsiaCCS 2020. What is drawn from the beats is another matter: `splitleak.fetch`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.folder import Array
from splitleak.datasets.reading.sources import Sums, read_sums

SUMS = Path(__file__).parent / "mitdb.sha256"

ALL = (
    *range(100, 110), *range(111, 120), *range(121, 125), *range(200, 204), 205, *range(207, 211), *range(212, 216),
    217, *range(219, 224), 228, *range(230, 235),
)  # fmt: skip


class Beats(NamedTuple):
    """Beats in the order of their records and of time."""

    x: Array  # (n, samples)
    kind: Array  # (n,) place in the kinds asked for
    record: Array  # (n,)
    rpeak: Array  # (n,) sample of the R peak in its record

    def take(self, rows: Array) -> Beats:
        return Beats(*(column[rows] for column in self))


def sums(records: Sequence[int]) -> Sums:
    """The published checksums of some records' files."""
    return {name: digest for name, digest in read_sums(SUMS).items() if name.partition(".")[0] in map(str, records)}


def together(parts: Iterable[Beats]) -> Beats:
    return Beats(*map(np.concatenate, zip(*parts, strict=True)))


def counted(beats: Beats, kinds: str, counts: tuple[int, ...], raw: Path) -> Beats:
    """The same beats, or BadInput: not as many of each kind as published."""
    had = np.bincount(beats.kind, minlength=len(kinds)).tolist()
    if tuple(had) != counts:
        had_, wanted = (", ".join(f"{k} {n}" for k, n in zip(kinds, c, strict=True)) for c in (had, counts))
        raise BadInput(f"{raw}: {sum(had)} beats ({had_}), wanted {sum(counts)} ({wanted})")
    return beats


def hdf5(beats: Beats, kinds: str, ending: str = "") -> bytes:
    """A file of beats as the datasets read it: x (n, 1, samples), y, record and rpeak, each name with the ending."""
    packed = {"compression": "gzip", "compression_opts": 9}
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened.attrs["source"] = "MIT-BIH Arrhythmia Database v1.0.0 (PhysioNet), ODC-By 1.0"
        opened.attrs["labels"] = " ".join(f"{k}={kind}" for k, kind in enumerate(kinds))
        x = beats.x[:, None].astype(np.float32)
        opened.create_dataset(f"x{ending}", data=x, chunks=(min(1024, len(x)), *x.shape[1:]), shuffle=True, **packed)
        opened.create_dataset(f"y{ending}", data=beats.kind.astype(np.int64), **packed)
        opened.create_dataset(f"record{ending}", data=beats.record.astype(np.int16), **packed)
        opened.create_dataset(f"rpeak{ending}", data=beats.rpeak.astype(np.int32), shuffle=True, **packed)
    return file.getvalue()


def cut(folder: Path, record: int, kinds: str = "NLRAV", reach: int = 100, lead: str | None = None) -> Beats:
    """The beats of some kinds with `reach` samples and no other annotation on either side; the record is in [0, 1].

    The record's first and last annotation count for nothing, not even as the neighbour that a beat must have. Without
    a lead's name it is the first one.
    """
    import wfdb  # takes a second

    asked = {"channels": [0]} if lead is None else {"channel_names": [lead]}
    signal = wfdb.rdrecord(str(folder / str(record)), **asked).p_signal[:, 0]  # mV; the first is mostly MLII
    signal = (signal - signal.min()) / (signal.max() - signal.min())
    marks = wfdb.rdann(str(folder / str(record)), "atr")
    place = {letter: i for i, letter in enumerate(kinds)}
    kind = np.array([place.get(symbol, -1) for symbol in marks.symbol])[2:-2]
    gap = np.diff(marks.sample[1:-1])
    rows = (kind >= 0) & (gap[:-1] >= reach) & (gap[1:] >= reach)
    rpeak = marks.sample[2:-2][rows]
    window = np.arange(-reach, reach + 1)  # both ends: 2 * reach + 1 samples
    return Beats(signal[rpeak[:, None] + window], kind[rows], np.full(len(rpeak), record), rpeak)


def smooth(x: Array, samples: int = 128) -> Array:
    """(n, any) -> (n, samples): resampled by FFT, then wavelets thresholded softly in all bands, the coarsest too."""
    import pywt
    from scipy.signal import resample

    bands = pywt.wavedec(resample(x, samples, axis=1), "bior4.4", axis=1)  # three levels of 128 samples
    least = 0.005 * np.sqrt(2 * np.log2(samples))
    return np.asarray(pywt.waverec([pywt.threshold(band, least, "soft") for band in bands], "bior4.4", axis=1))
