"""Heartbeats cut from the raw WFDB records of the MIT-BIH Arrhythmia Database, and the filter of the published set.

Moody & Mark, 2001: half an hour at 360 Hz a record, every beat annotated at its R peak. Cutting and filtering as in
Abuadbba et al., AsiaCCS 2020. What is drawn from the beats is another matter: `splitleak.fetch`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from splitleak.datasets.folder import Array

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


def together(parts: Iterable[Beats]) -> Beats:
    return Beats(*map(np.concatenate, zip(*parts, strict=True)))


def cut(folder: Path, record: int, kinds: str = "NLRAV", reach: int = 100) -> Beats:
    """The beats of some kinds with `reach` samples and no other annotation on either side; the record is in [0, 1].

    The record's first and last annotation count for nothing, not even as the neighbour that a beat must have.
    """
    import wfdb  # takes a second

    signal = wfdb.rdrecord(str(folder / str(record)), channels=[0]).p_signal[:, 0]  # mV, lead MLII where there is one
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
