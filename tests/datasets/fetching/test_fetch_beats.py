"""Files built from raw records: which beats are kept, and what is drawn."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from splitleak.datasets.ecg import SYMBOLS
from splitleak.datasets.reading import fetch, mitbih_beats
from splitleak.datasets.reading.checksums import read_checksums

from .raw_records import MARKS, write_record


def test_a_beat_is_kept_when_no_annotation_is_nearer_than_100_samples(tmp_path: Path) -> None:
    write_record(tmp_path, 900)
    beats = mitbih_beats.cut_beats(tmp_path, 900)
    kept = [(at, symbol) for at, symbol, keep in MARKS if keep]
    assert [(r, SYMBOLS[k]) for r, k in zip(beats.rpeak, beats.kind, strict=True)] == kept
    assert set(beats.record) == {900}


def test_a_window_is_100_samples_to_both_sides_of_a_record_scaled_as_a_whole(tmp_path: Path) -> None:
    wave = write_record(tmp_path, 900)
    beats = mitbih_beats.cut_beats(tmp_path, 900)
    scaled = (wave - wave.min()) / (wave.max() - wave.min())
    for x, at in zip(beats.x, beats.rpeak, strict=True):
        np.testing.assert_allclose(x, scaled[at - 100 : at + 101], atol=1e-12)


def test_other_kinds_and_windows_are_to_be_had(tmp_path: Path) -> None:
    write_record(tmp_path, 900)
    beats = mitbih_beats.cut_beats(tmp_path, 900, symbols="V/", margin=60)
    assert beats.x.shape == (len(beats.rpeak), 121)
    assert [("V/"[k], int(r)) for k, r in zip(beats.kind, beats.rpeak, strict=True)] == [
        ("V", 1100), ("V", 1399), ("/", 1600), ("V", 2300)
    ]  # fmt: skip


def test_smoothing_takes_the_threshold_off_every_band() -> None:
    least = 0.005 * np.sqrt(2 * np.log2(128))
    flat = mitbih_beats.resample_and_denoise(np.full((3, 201), 0.5))
    assert flat.shape == (3, 128)
    np.testing.assert_allclose(flat, 0.5 - least / 2**1.5, atol=1e-6)  # the coarsest band is 2^(3/2) times the mean
    faint = 0.5 + 1e-3 * np.random.default_rng(0).standard_normal((3, 201))
    assert mitbih_beats.resample_and_denoise(faint).std(axis=1).max() < 0.7e-3 * 128 / 201


def test_smoothing_leaves_the_r_peak_in_the_middle() -> None:
    peak = np.exp(-(((np.arange(201) - 100) / 8) ** 2))[None]
    assert abs(int(mitbih_beats.resample_and_denoise(peak).argmax()) - 100 * 128 / 201) < 1


def test_the_draw_is_with_replacement_and_its_halves_overlap_as_published() -> None:
    kind = np.repeat(np.arange(5), fetch.COUNTS)
    train, test = fetch.draw_published(kind)
    assert sum(fetch.COUNTS) == 96_049
    for rows in (train, test):
        assert np.bincount(kind[rows]).tolist() == [3000, 3000, 3000, 1245, 3000]
        assert len(np.unique(rows)) < len(rows)
        assert (np.diff(kind[rows]) < 0).any()  # shuffled
    assert np.isin(test, train).mean() == pytest.approx(0.278, abs=5e-4)
    assert all(np.array_equal(a, b) for a, b in zip((train, test), fetch.draw_published(kind), strict=True))


def test_43_of_the_48_records_are_used_and_every_file_has_its_checksum() -> None:
    assert len(mitbih_beats.ALL_RECORDS) == 48
    assert len(fetch.RECORDS) == 43
    sums = read_checksums(mitbih_beats.CHECKSUMS)
    assert set(sums) == {
        f"{record}.{ending}" for record in mitbih_beats.ALL_RECORDS for ending in ("hea", "dat", "atr")
    }
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in sums.values())
