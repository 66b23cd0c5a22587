"""Audits whose answer is known: everything, nothing, the class and nothing more, and what was learned by heart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import splitleak
from splitleak import Audit

PEOPLE, EACH, LENGTH, CLASSES = 30, 8, 24, 3


def people(first: int) -> dict[str, Any]:
    """Records x (n, 1, LENGTH) in 0..1 of PEOPLE persons: the sum of a class's wave, the person's own, and noise."""
    draw, t = np.random.default_rng(first), np.linspace(0, 2 * np.pi, LENGTH)
    own = 0.2 * draw.standard_normal((PEOPLE, LENGTH))
    person = np.repeat(np.arange(PEOPLE), EACH)
    y = np.arange(PEOPLE * EACH) % CLASSES
    wave = 0.25 * np.sin((1 + y)[:, None] * t)
    x = 0.5 + wave + own[person] + 0.05 * draw.standard_normal((len(y), LENGTH))
    return {"x": x.clip(0, 1).astype(np.float32)[:, None], "y": y, "group": [f"p{first + k}" for k in person]}


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Audit]:
    monkeypatch.chdir(tmp_path)  # the names of files decide what is drawn

    def of(client: nn.Module, **more: Any) -> Audit:
        return splitleak.audit(client, people(0), people(1000), out="out", quick=True, **more)

    return of


class Noise(nn.Module):
    """Sends numbers that have nothing to do with the record."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.randn(len(x), 16) + 0 * x.sum()


class ClassOnly(nn.Module):
    """Sends which of the three waves the record is most like."""

    def __init__(self) -> None:
        super().__init__()
        t = torch.linspace(0, 2 * torch.pi, LENGTH)
        self.waves = nn.Parameter(torch.stack([torch.sin(k * t) for k in (1, 2, 3)]))

    def forward(self, x: Tensor) -> Tensor:
        likeness = (x.flatten(1) - 0.5) @ self.waves.T
        return nn.functional.one_hot(likeness.argmax(1), CLASSES).float() + 0 * likeness


class LearnedByHeart(nn.Module):
    """Sends records that it has seen as they are, and others with much noise."""

    def __init__(self, seen: Tensor) -> None:
        super().__init__()
        self.register_buffer("seen", seen.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        known = torch.cdist(x.flatten(1), self.seen).amin(1) < 1e-3
        noise = torch.randn(x.flatten(1).shape)
        return x.flatten(1) + noise * torch.where(known, 0.05, 0.3)[:, None]


def only(audit: Audit) -> dict[str, Any]:
    (answer,) = audit.found["measured"]["answers"]
    return dict(answer)


def test_a_client_that_changes_nothing_leaks_everything_and_names_every_person(audit: Callable[..., Audit]) -> None:
    answer = only(audit(nn.Sequential(nn.Identity())))
    assert answer["finding"].startswith("total: records are read off (1.00), and 100% re-identified")
    exposed = answer["exposed"]
    assert (exposed["people"], exposed["people_named"], exposed["share_named"]) == (PEOPLE, PEOPLE, 1.0)
    assert {one["person"] for one in exposed["persons"]} <= {f"p{k}" for k in range(PEOPLE)}
    assert all(one["rank"] == 1 for one in exposed["records"])
    assert answer["strongest"]["linkage"]["auc"] > 0.9


@pytest.mark.slow
def test_a_client_that_sends_noise_leaks_nothing(audit: Callable[..., Audit]) -> None:
    answer = only(audit(Noise()))
    assert answer["finding"].startswith("nothing of the records was found")
    assert "messages are not linked" in answer["finding"]
    best, linked = answer["strongest"]["inputs"], answer["strongest"]["linkage"]
    assert max(best["advantage"], best["control_advantage"], best["null_advantage"]) < 0.02
    assert abs(linked["auc"] - 0.5) < 0.03


@pytest.mark.slow
def test_a_client_that_sends_the_class_gives_the_class_away_and_nothing_more(audit: Callable[..., Audit]) -> None:
    answer = only(audit(ClassOnly()))
    assert answer["finding"].startswith("no more of the records than their class tells")
    assert "labels are inferred" in answer["finding"]
    assert answer["strongest"]["inputs"]["advantage"] > 0.1  # more than a mean record: the class
    assert answer["effective_rank"] < CLASSES


@pytest.mark.slow
def test_members_that_were_learned_by_heart_are_told_from_strangers(audit: Callable[..., Audit]) -> None:
    seen = torch.from_numpy(people(0)["x"])
    finding = only(audit(LearnedByHeart(seen)))["finding"]
    assert "members are guessed better than strangers" in finding
    assert "members are guessed" not in only(audit(LearnedByHeart(torch.rand(4, 1, LENGTH))))["finding"]


@pytest.mark.slow
def test_every_block_is_a_cut_and_one_that_changes_no_number_is_told(audit: Callable[..., Audit]) -> None:
    torch.manual_seed(0)
    found = audit(nn.Sequential(nn.Conv1d(1, 4, 5), nn.Dropout(0.5), nn.Flatten(), nn.Linear(80, 6))).found
    assert found["cuts"] == {"1": None, "2": 1, "3": 1, "4": None}
    assert [one["cut"] for one in found["measured"]["answers"]] == [1, 4]
    assert "cut 3: its message holds the same numbers as that of cut 1" in found["not_tested"]


@pytest.mark.slow
def test_a_defence_is_answered_for_with_its_bound_beside_it(audit: Callable[..., Audit]) -> None:
    strong = {"name": "laplace_range", "epsilon": 0.1}
    found = audit(nn.Sequential(nn.Identity()), defenses=["none", strong])
    findings = [found.findings[1, label] for label in ("none", "laplace_range(epsilon=0.1)")]
    assert findings[0].startswith("total")
    assert findings[1].startswith("nothing of the records was found")
    bound = found.found["measured"]["answers"][1]["fisher"]
    assert bound["mse"] > 100 * bound["variance_of_records"]  # nobody without a bias gets near the records
    assert "fisher" not in found.found["measured"]["answers"][0]


@pytest.mark.slow
def test_a_client_that_says_nothing_at_all_has_an_answer(audit: Callable[..., Audit]) -> None:
    dead = nn.Linear(LENGTH, 4)
    nn.init.zeros_(dead.weight)
    nn.init.constant_(dead.bias, -1.0)
    client = nn.Sequential(nn.Sequential(nn.Flatten(), dead, nn.ReLU()))
    noisy = {"name": "laplace_range", "epsilon": 5}
    found = audit(client, defenses=["none", noisy])
    assert all(finding.startswith("nothing of the records was found") for finding in found.findings.values())
    silent, behind_noise = found.found["measured"]["answers"]
    assert silent["effective_rank"] == 0
    assert behind_noise["fisher"]["mse"] is None


@pytest.mark.slow
def test_with_a_recipe_the_network_is_trained_on_the_members(audit: Callable[..., Audit]) -> None:
    torch.manual_seed(0)
    client, server = (
        nn.Sequential(nn.Flatten(), nn.Linear(LENGTH, 32)),
        nn.Sequential(nn.ReLU(), nn.Linear(32, CLASSES)),
    )
    nn.init.zeros_(client[1].weight)
    recipe = {"epochs": 40, "batch_size": 16, "lr": 0.01}
    found = audit(
        client, server=server, cuts=[2], train=recipe, defenses=["none", {"name": "nopeek", "weight": 1.0}]
    ).found
    plain, behind_nopeek = found["measured"]["answers"]
    assert plain["utility"] > 0.9
    assert plain["effective_rank"] > 2  # before its training the client sent the same for all
    assert behind_nopeek["effective_rank"] != plain["effective_rank"]
    assert {"malicious_server", "auditor"} <= {*found["declared"]["threats"]}
    assert not [line for line in found["not_tested"] if "no recipe" in line]


@pytest.mark.slow
def test_the_folder_that_an_audit_lies_in_changes_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        found = splitleak.audit(ClassOnly(), people(0), people(1000), out="out", quick=True).found
        figures.append([row | {"seconds": 0} for row in found["measured"]["attacks"]])
    assert figures[0] == figures[1]


@pytest.mark.slow
def test_the_accuracy_of_a_known_server_is_told(audit: Callable[..., Audit]) -> None:
    client = ClassOnly()
    answer = only(audit(client, server=nn.Sequential(nn.Identity()), protocol="vanilla"))
    assert answer["utility_metric"] == "accuracy"
    assert answer["utility"] > 0.6  # the nearest wave is mostly the right one
