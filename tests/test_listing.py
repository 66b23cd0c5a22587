"""`splitleak list`: every kind of thing in 100 columns."""

from __future__ import annotations

import re
from typing import Any

import pytest

from splitleak.plan import matrix, plugins
from splitleak.report import listing

KINDS = [f"{kind}s" for kind in plugins.FOLDERS]


@pytest.mark.parametrize("what", [*KINDS, "threats", "matrices"])
def test_lists_fit_100_columns(what: str) -> None:
    assert max(map(len, listing.listing(what).splitlines())) <= listing.WIDTH


@pytest.mark.parametrize("kind", plugins.FOLDERS)
def test_each_plugin_has_a_line_and_all_its_parameters_below(kind: plugins.Kind) -> None:
    said = listing.listing(f"{kind}s")
    names = [line.split()[0] for line in said.splitlines() if not line.startswith(" ")]
    assert names == plugins.names(kind)
    assert "epsilon=10.0, clip=10.0, delta=1e-05" in said or kind != "defense"
    assert "32896" not in said  # grants are named


def test_matrices_say_dataset_cells_and_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    said = " ".join(listing.listing("matrices").split())
    assert "smoke Seconds, not minutes: does everything work here? dataset ecg_synthetic(n=600); 8 cells" in said
    assert len(re.findall(r"; \d+ cells?\b", said)) == len(matrix.shipped())
    read = matrix.written

    def with_minutes(name: str) -> Any:
        raw, who, base = read(name)
        return raw | {"about": {"minutes": 1.5}}, who, base

    monkeypatch.setattr(matrix, "written", with_minutes)
    assert listing._matrix("smoke")[2] == "dataset ecg_synthetic(n=600); 8 cells; about 1.5 minutes"
