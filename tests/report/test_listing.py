"""`splitleak list`: every kind of thing in 100 columns."""

from __future__ import annotations

import re
from typing import Any

import pytest

from splitleak.contract.errors import BadInput
from splitleak.plan import matrix, plugins, suites
from splitleak.report import listing

KINDS = [f"{kind}s" for kind in plugins.FOLDERS]


@pytest.mark.parametrize("what", [*KINDS, "threats", "matrices", "suites"])
def test_lists_fit_100_columns(what: str) -> None:
    assert max(map(len, listing.listing(what).splitlines())) <= listing.WIDTH


@pytest.mark.parametrize("kind", plugins.FOLDERS)
def test_each_plugin_has_a_line_and_all_its_parameters_below(kind: plugins.Kind) -> None:
    said = listing.listing(f"{kind}s")
    names = [line.split()[0] for line in said.splitlines() if not line.startswith(" ")]
    assert names == plugins.names(kind)
    assert "epsilon=10.0, clip=10.0, delta=1e-05" in said or kind != "defense"
    assert "32896" not in said  # grants are named


@pytest.mark.slow
def test_matrices_say_dataset_cells_and_minutes() -> None:
    said = " ".join(listing.listing("matrices").split())
    assert "dataset ecg_synthetic; 8 cells; about" in said
    shipped = len(matrix.shipped())
    assert len(re.findall(r"; \d+ cells?; about [\d.e+]+ min on two cores", said)) == shipped


def test_matrix_that_needs_a_missing_package_is_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> Any:
        raise BadInput("pip install it")

    monkeypatch.setattr(matrix, "about", refuse)
    assert listing._matrix("smoke") == ("smoke", "cannot be read here", "pip install it")


def test_suites_say_their_attacks_by_goal_and_threat_and_whether_they_may_change() -> None:
    said = " ".join(listing.listing("suites").split())
    for suite in suites.newest_first():
        assert suite.name in said
        assert suite.about.released or "Not released yet" in said
        for one in suite.attacks:
            assert re.search(rf"{one.goal.value}: .*{one.threat} \([^;]*{re.escape(str(one.plugin))}", said)
