"""The published measure of 'visual invertibility' and its corrections, against dcor and where the answer is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from splitleak import api
from splitleak.plan import matrix
from splitleak.report import invertibility, published


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.slow
def test_correlation_of_every_pair_is_that_of_dcor(
    generator: torch.Generator, dcor: Callable[..., list[float]]
) -> None:
    a = torch.randn(4, 16, generator=generator)
    z = torch.randn(4, 3, 16, generator=generator) + a[:, None]
    biased, honest = (invertibility.correlation(a, z, unbiased=unbiased) for unbiased in (False, True))
    assert biased.shape == honest.shape == (4, 4, 3)
    some = [(0, 0, 0), (1, 3, 2), (3, 2, 1)]
    names = {"distance_correlation": biased, "u_distance_correlation_sqr": honest}
    theirs = dcor(*((name, a[n].double(), z[m, c].double()) for name in names for n, m, c in some))
    assert [float(ours[where]) for ours in names.values() for where in some] == pytest.approx(theirs, abs=1e-12)


def test_flat_series_is_related_to_nothing() -> None:
    flat, other = torch.ones(2, 16), torch.rand(2, 1, 16)
    for unbiased in (False, True):
        assert not invertibility.correlation(flat, other, unbiased=unbiased).any()


@pytest.mark.slow
def test_channel_that_is_the_beat_is_found_and_the_published_pairing_hides_it(generator: torch.Generator) -> None:
    x = torch.rand(64, 1, 64, generator=generator)
    pooled = torch.nn.functional.avg_pool1d(x, 4)
    z = torch.cat([torch.rand(64, 2, 16, generator=generator), 3 * pooled + 1], 1)
    found = invertibility.invertibility(x, z, 32, generator)
    assert found["dcor_paired_top"] == pytest.approx(1)
    assert found["dcor2_unbiased_top"] == pytest.approx(1)
    assert found["dcor_published_top"] < 0.5
    assert found["dtw_top_standardised"] == pytest.approx(0, abs=1e-5)


@pytest.mark.slow
def test_independent_channels_have_the_published_measure_s_floor_and_no_unbiased_one(
    generator: torch.Generator,
) -> None:
    found = invertibility.invertibility(
        torch.randn(64, 1, 128, generator=generator), torch.randn(64, 4, 32, generator=generator), 32, generator
    )
    assert found["dcor_paired_mean"] > 0.2  # of nothing at all
    assert abs(found["dcor2_unbiased_mean"]) < 0.02
    assert abs(found["dcor2_other_beats"]) < 0.02
    assert 0 < found["dcor2_null95"] < 0.05


@pytest.mark.slow
def test_table_sets_reported_beside_measured(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "RECORDS", 96)
    dataset = '[{ name = "ecg_synthetic", n = 500 }]'
    lab.matrix('defense = ["none", { name = "laplace_range", epsilon = 10 }]', "epochs = 2\ncurve = true", dataset)
    api.run("m.toml", tmp_path / "runs")
    none, noisy = published.table(tmp_path / "runs", "m.toml")
    assert (none["epsilon"], none["layers"], none["reported_accuracy"]) == (None, 2, 0.9844)
    assert (noisy["epsilon"], noisy["reported_dcor_top"]) == (10, 0.656)
    assert none["accuracy_best_on_test"] >= none["accuracy_last_epoch"] > 0
    assert len(matrix.read("m.toml").cells) == 2


def test_settings_without_a_victim_are_left_out(lab: Any, tmp_path: Path) -> None:
    lab.matrix()
    assert published.table(tmp_path / "nothing", "m.toml") == []
