"""The documented type of a record has exactly the fields that runs leave behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
import torch

import splitleak
from splitleak import records as types
from splitleak.plan.settings import Clients, Federated
from splitleak.score import metrics, task_metrics

Run = Callable[..., list[dict[str, Any]]]


def fields(type_: type[Any]) -> set[str]:
    return set(get_type_hints(type_))


@pytest.fixture
def some(run: Run) -> list[dict[str, Any]]:
    """Records of every kind: done, failed and skipped; with pictures, clients, a control, a hijack, hints."""
    probe = {"name": "toy_probe", "wants": "HINTS", "goal": "labels"}
    found = run(
        attack=["blind", "toy_hijack", "membership"], clients=[{"n": 2}], evaluate={"control": True, "per_record": True}
    )
    found += run(out="drawn", attack=["similarity"], protocol="u_shape", evaluate={"draws": 2}, train={"curve": True})
    found += run(out="failed", attack=[probe], protocol="u_shape")
    found += run(out="skipped", attack=["toy_read_off"], threat=["fed_server"])
    heart = {"name": "ecg_synthetic", "n": 500, "split": "patients"}
    found += run(out="people", dataset=heart, model="ecg_cnn", cut=2, attack="linkage", evaluate={"targets": 40})
    found += run(out="images", dataset="toy_images", model="toy_skips", attack="blind")
    return found


@pytest.mark.slow
def test_a_record_has_no_field_that_the_type_does_not_know_and_the_reverse(some: list[dict[str, Any]]) -> None:
    assert {record["status"] for record in some} >= {"done", "failed", "skipped"}
    assert {name for record in some for name in record} == fields(types.Record)
    parts = {
        "labels": types.Kinds, "hashes": types.Kinds, "versions": types.Versions, "null": types.NullRun,
        "draws": types.Draws, "control": types.Control,
        "per_record": types.PerRecord, "per_target": types.PerTargetFields,
    }  # fmt: skip
    for part, type_ in parts.items():
        assert {name for record in some for name in record.get(part, ())} == fields(type_), part
    cells = {name for record in some for name in record["cell"]}
    assert cells == fields(types.CellFields) - {"federated"}  # of fedavg alone
    clients = [client for record in some for client in record.get("utility_clients") or ()]
    assert {name for client in clients for name in client} == fields(types.ClientUtility)


@pytest.mark.parametrize(
    ("part", "settings"),
    [(types.ClientsFields, Clients), (types.FederatedFields, Federated)],
    ids=["clients", "federated"],
)
def test_settings_in_a_cell_have_the_fields_of_the_matrix(part: type[Any], settings: type[Any]) -> None:
    assert fields(part) == {field.name for field in dataclasses.fields(settings)}


def test_points_of_a_curve_have_the_fields_of_their_type(attempt: Callable[..., Any]) -> None:
    def look(view: Any) -> None:
        for step in view.steps:
            view.log(step.index, lambda z: torch.full((len(z), *view.in_shape), 0.5))

    assert set(attempt(look, "SMASHED|STEPS").curve[0]) == fields(types.CurvePoint)


def test_metrics_of_every_goal_and_task_are_those_of_the_type() -> None:
    x, yes = torch.rand(8, 1, 16), torch.arange(8) % 2
    images, mask = torch.rand(8, 1, 16, 16), (torch.rand(8, 1, 4, 4) > 0.5).double()
    scores = [
        metrics.inputs(torch.rand(8, 1, 16), x, x.mean(0), (0, 1)),
        metrics.inputs(torch.rand(8, 1, 16, 16), images, images.mean(0), (0, 1)),
        metrics.classes(torch.rand(8, 2), yes, 0),
        metrics.masks(torch.rand(8, 1, 4, 4), mask, mask[0]),
        metrics.values(torch.rand(8, 2), torch.rand(8, 2), torch.rand(2)),
        metrics.members(torch.rand(8), yes, yes),
        metrics.scores(torch.rand(2000), torch.arange(2000) % 2),
        metrics.properties(torch.rand(8), yes, yes),
    ]
    named = {name for score in scores for name in score}
    added = {
        "judge_accuracy",
        "nearest_aux",
        "reid_strangers",
        "reid_chance",
        "auc_raw",
        "class_mean",
    }  # of more than that
    assert named | added == fields(types.Metrics)
    also = [
        task_metrics.utility_also(torch.rand(8, 2), yes, splitleak.Task("classes", 2)),
        task_metrics.utility_also(torch.randn(8, 1, 4, 4), mask, splitleak.Task("mask", 1)),
        task_metrics.utility_also(torch.rand(8, 2), torch.rand(8, 2), splitleak.Task("value", 2)),
    ]
    assert {name for measures in also for name in measures} == fields(types.UtilityAlso)


def test_record_is_a_public_name() -> None:
    assert splitleak.Record is types.Record
