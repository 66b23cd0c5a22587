"""Which attacks an audit plans for what was declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from splitleak.auditing import declaration
from splitleak.auditing.plans import Plan
from splitleak.models._held import hold
from splitleak.plan import matrix

from .test_known_answers import people


@pytest.fixture
def planned(tmp_path: Path) -> Any:
    """The attacks of the suite that are planned, each with its threat model, and those that are skipped."""
    for name, first in (("members", 0), ("strangers", 1000)):
        np.savez(tmp_path / f"{name}.npz", **people(first))
    client = hold(nn.Sequential(nn.Flatten(), nn.Linear(24, 6)))

    def plan(**given: Any) -> tuple[set[tuple[str, str]], set[str]]:
        files = {"members": "members.npz", "strangers": "strangers.npz", "client": client}
        asked = declaration.checked(files | given, "audit")
        whole = Plan(asked, tmp_path)
        cells = matrix.read(whole.whole(), tmp_path).cells
        ran = {(c.attack["name"] + str(c.attack.get("source", "")), c.threat) for c in cells if not c.skip}
        return ran, {c.attack["name"] for c in cells if c.skip}

    return plan


def test_where_queries_are_allowed_they_take_the_place_of_a_substitute(planned: Any) -> None:
    ran, _ = planned()
    assert {("fora", "eavesdropper"), ("channel", "eavesdropper"), ("map_search", "white_box")} <= ran
    assert ("linkage", "query_server") in ran
    assert ("linkagesubstitute", "eavesdropper") not in ran
    assert ("linkagesubstitute", "eavesdropper") in planned(threats=["eavesdropper"])[0]


def test_nobody_is_tried_who_would_need_what_is_not_there(planned: Any) -> None:
    assert {threat for _, threat in planned()[0]} == {"eavesdropper", "query_server", "white_box"}


def test_with_a_server_and_a_recipe_everybody_is_tried(planned: Any) -> None:
    server = hold(nn.Sequential(nn.ReLU(), nn.Linear(6, 3)))
    ran, skipped = planned(server=server, train={"epochs": 1})
    assert {"honest_server", "malicious_server", "label_thief", "auditor"} <= {threat for _, threat in ran}
    assert {("fsha", "malicious_server"), ("lira", "auditor")} <= ran
    assert "oracle" not in {threat for _, threat in ran}
    assert not skipped & {"fsha", "lira", "sdar"}
