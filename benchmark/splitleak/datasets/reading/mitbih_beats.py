"""Heartbeats cut from the raw WFDB records of the MIT-BIH Arrhythmia Database, and the published set's filter.

Moody & Mark, 2001: each record is half an hour at 360 Hz, every beat annotated at its R peak. Cutting and filtering
follow Abuadbba et al., AsiaCCS 2020. Which beats that set draws is in `fetch.py`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.array_files import Array
from splitleak.datasets.reading.checksums import Checksums, read_checksums

CHECKSUMS = Path(__file__).parent / "mitdb.sha256"

ALL_RECORDS = (
    *range(100, 110), *range(111, 120), *range(121, 125), *range(200, 204), 205, *range(207, 211), *range(212, 216),
    217, *range(219, 224), 228, *range(230, 235),
)  # fmt: skip


class Heartbeats(NamedTuple):
    """Beats in the order of their records and, within a record, of time."""

    x: Array  # (n, samples)
    kind: Array  # (n,) index of the annotation symbol among the symbols that were chosen
    record: Array  # (n,)
    rpeak: Array  # (n,) sample of the R peak in its record

    def take(self, rows: Array) -> Heartbeats:
        return Heartbeats(*(column[rows] for column in self))


def checksums_of(records: Sequence[int]) -> Checksums:
    """The published checksums of these records' files."""
    stems = [*map(str, records)]
    return {name: digest for name, digest in read_checksums(CHECKSUMS).items() if name.partition(".")[0] in stems}


def concatenate(parts: Iterable[Heartbeats]) -> Heartbeats:
    return Heartbeats(*map(np.concatenate, zip(*parts, strict=True)))


def check_counts(beats: Heartbeats, symbols: str, counts: tuple[int, ...], raw: Path) -> Heartbeats:
    """The same beats, or BadInput if any kind has another count than published."""
    found = tuple(np.bincount(beats.kind, minlength=len(symbols)).tolist())
    if found != counts:
        actual, published = (", ".join(f"{s} {n}" for s, n in zip(symbols, c, strict=True)) for c in (found, counts))
        raise BadInput(f"{raw}: {sum(found)} beats ({actual}); published are {sum(counts)} ({published})")
    return beats


def to_hdf5(beats: Heartbeats, symbols: str, suffix: str = "") -> bytes:
    """The file that the datasets read: x (n, 1, samples), y, record and rpeak, each name followed by the suffix."""
    packed = {"compression": "gzip", "compression_opts": 9}
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened.attrs["source"] = "MIT-BIH Arrhythmia Database v1.0.0 (PhysioNet), ODC-By 1.0"
        opened.attrs["labels"] = " ".join(f"{k}={kind}" for k, kind in enumerate(symbols))
        x = beats.x[:, None].astype(np.float32)
        opened.create_dataset(f"x{suffix}", data=x, chunks=(min(1024, len(x)), *x.shape[1:]), shuffle=True, **packed)
        opened.create_dataset(f"y{suffix}", data=beats.kind.astype(np.int64), **packed)
        opened.create_dataset(f"record{suffix}", data=beats.record.astype(np.int16), **packed)
        opened.create_dataset(f"rpeak{suffix}", data=beats.rpeak.astype(np.int32), shuffle=True, **packed)
    return file.getvalue()


def cut_beats(
    folder: Path, record: int, symbols: str = "NLRAV", margin: int = 100, lead: str | None = None
) -> Heartbeats:
    """A record's beats with these annotation symbols, as 2 * margin + 1 samples around the R peak.

    A beat is kept if no other annotation is nearer than `margin` samples. The record is scaled to [0, 1] as a whole.
    The record's first and last annotation are ignored, also as neighbours. `lead=None`: the record's first lead.
    """
    import wfdb  # importing it takes a second

    channel = {"channels": [0]} if lead is None else {"channel_names": [lead]}
    signal = wfdb.rdrecord(str(folder / str(record)), **channel).p_signal[:, 0]  # mV; the first lead is mostly MLII
    signal = (signal - signal.min()) / (signal.max() - signal.min())
    annotations = wfdb.rdann(str(folder / str(record)), "atr")
    index = {symbol: i for i, symbol in enumerate(symbols)}
    kind = np.array([index.get(symbol, -1) for symbol in annotations.symbol])[2:-2]
    gap = np.diff(annotations.sample[1:-1])
    rows = (kind >= 0) & (gap[:-1] >= margin) & (gap[1:] >= margin)
    rpeak = annotations.sample[2:-2][rows]
    window = np.arange(-margin, margin + 1)
    return Heartbeats(signal[rpeak[:, None] + window], kind[rows], np.full(len(rpeak), record), rpeak)


def resample_and_denoise(x: Array, samples: int = 128) -> Array:
    """(n, any) -> (n, samples): FFT resampling, then soft thresholding of all wavelet bands, the coarsest included."""
    import pywt
    from scipy.signal import resample

    bands = pywt.wavedec(resample(x, samples, axis=1), "bior4.4", axis=1)  # three levels of 128 samples
    threshold = 0.005 * np.sqrt(2 * np.log2(samples))
    return np.asarray(pywt.waverec([pywt.threshold(band, threshold, "soft") for band in bands], "bior4.4", axis=1))
