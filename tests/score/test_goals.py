"""Every goal from matrix to record on toys whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import splitleak
from splitleak.contract import Goal
from splitleak.plan import plugins
from splitleak.score.floor import floor_of
from splitleak.score.scene import Scene

Record = dict[str, Any]
Run = Callable[..., list[Record]]
OPEN = {"name": "toy_chain", "identity": True}  # a client that changes nothing, cut behind it
GOALS = ["inputs", "labels", "property", "membership"]


def only(records: list[Record]) -> Record:
    (record,) = records
    assert record["status"] == "done", record.get("traceback", record["why"])
    return record


@pytest.fixture(autouse=True)
def _short_training_of_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitleak.pieces.probe.STEPS", 40)  # how well records themselves tell a property


def reading(goal: str, **given: Any) -> dict[str, Any]:
    return {"attack": {"name": "toy_read_off", "goal": goal}, "model": OPEN, "cut": 1} | given


@pytest.mark.parametrize("goal", GOALS)
def test_a_client_that_changes_nothing_leaks_everything(run: Run, goal: str) -> None:
    record = only(run(**reading(goal)))
    assert record["metrics"]["advantage"] == pytest.approx(1)
    assert record["null"]["leaks"] is False
    assert record["n_targets"] == {"inputs": 64, "labels": 61, "property": 64, "membership": 114}[goal]


@pytest.mark.slow
@pytest.mark.parametrize("goal", GOALS)
def test_a_channel_of_noise_leaks_nothing(run: Run, goal: str) -> None:
    record = only(
        run(**reading(goal, dataset={"name": "toy_flat", "n": 604}, defense="toy_static", train={"epochs": 1}))
    )
    assert record["metrics"]["advantage"] <= (0.02 if goal in ("inputs", "labels") else 0.2)  # the AUC of 60 strangers
    assert record["null"]["leaks"] is False


def test_masks_are_read_off_and_scored_as_overlap(run: Run) -> None:
    record = only(run(**reading("labels", dataset="toy_images")))
    assert record["metrics"]["advantage"] == pytest.approx(1)
    assert record["metrics"]["iou"] == pytest.approx(1)
    assert record["null"]["leaks"] is False


def test_values_are_scored_against_their_mean(run: Run) -> None:
    record = only(run(**reading("labels", dataset={"name": "toy_flat", "task": "value"})))
    assert record["metrics"]["advantage"] == pytest.approx(1)
    assert record["utility_metric"] == "r2"


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["toy_flat", "toy_images"])
@pytest.mark.parametrize("goal", GOALS)
def test_the_blind_guess_is_at_the_floor_whatever_the_goal(run: Run, goal: str, dataset: str) -> None:
    record = only(run(dataset=dataset, attack={"name": "blind", "goal": goal}))
    assert record["metrics"]["advantage"] == pytest.approx(0, abs=1e-6)
    assert record["null"]["leaks"] is False


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["inputs", "labels", "property"])
def test_a_u_shape_with_skips_carries_every_goal(run: Run, goal: str) -> None:
    look = {"name": "toy_probe", "wants": "SMASHED|GRADIENT|STEPS|TOP", "goal": goal}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe(), "_look", staticmethod(lambda view: mean_mask(view, goal)), raising=False)
        record = only(run(dataset="toy_images", model="toy_skips", attack=look))
    assert record["cell"]["protocol"] == "u_shape"
    assert {"smashed", "gradient", "features", "gradient_features"} <= set(record["read"])
    assert record["bytes_up"] == 4 * (4 * 2 * 2 + 4 * 2 * 2)  # z and the gradient of the features, cut 2
    assert record["bytes_down"] == record["bytes_up"]


def probe() -> type[Any]:
    return plugins.find("attack", "./toy_probe.py", Path.cwd())


def mean_mask(view: Any, goal: str) -> torch.Tensor | None:
    for step in view.steps:
        assert step.top(step.smashed).shape == step.features.shape
    assert view.smashed.shape == view.gradient.shape
    assert view.features.shape == view.gradient_features.shape
    return torch.full((view.targets, 1, 8, 8), 0.5) if goal == "labels" else None


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_two_clients_are_attacked_like_one(run: Run, mode: str) -> None:
    clients = {"n": 2, "mode": mode}
    records = run(attack=["toy_hijack", "toy_read_off"], model=OPEN, cut=1, clients=clients, train={"batch_size": 12})
    assert {record["cell"]["attack"]["name"][2:-3]: record["status"] for record in records} == {
        "toy_hijack": "done",
        "toy_read_off": "done",
    }
    for record in records:
        assert record["cell"]["clients"] == clients
        assert record["metrics"]["advantage"] == pytest.approx(1)
        assert record.get("steps_attacked", 4) == 4
    assert set(splitleak.leaderboard(records)["clients"]) == {f"2 {mode}"}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_two_u_shaped_clients_with_skips_are_watched_step_by_step(run: Run, mode: str) -> None:
    attack = {"name": "toy_probe", "wants": "SMASHED|STEPS|TOP", "goal": "labels"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe(), "_look", staticmethod(lambda view: mean_mask(view, "labels")), raising=False)
        only(run(dataset="toy_images", model="toy_skips", attack=attack, clients={"n": 2, "mode": mode}))


@pytest.mark.slow
def test_a_defences_learned_part_is_kept_with_the_victim_and_the_same_when_loaded(run: Run, tmp_path: Path) -> None:
    attacks = [{"name": "toy_read_off", "goal": "labels"}, "toy_read_off"]
    records = run(attack=attacks, model=OPEN, cut=1, defense="toy_learned")
    assert [record["status"] for record in records] == ["done", "done"]
    (kept,) = (tmp_path / "out" / "victims").glob("[!j]*.safetensors")
    tensors = load_file(kept)
    learned = {name for name in tensors if name.startswith("defense.")}
    assert {"defense.decoder.weight", "defense.norm.running_mean"} <= learned
    assert int(tensors["defense.norm.num_batches_tracked"]) == 2 * 5  # its training, and nothing after it
    again = run("again", attack=attacks, model=OPEN, cut=1, defense="toy_learned")
    assert [r["metrics"] for r in again] == [r["metrics"] for r in records]


def test_an_onlooker_of_a_learned_defence_sees_the_victim_that_is_kept(run: Run) -> None:
    attack = {"name": "toy_probe", "wants": "SMASHED|STEPS"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe(), "_look", staticmethod(lambda view: [None for _ in view.steps] and None), raising=False)
        only(run(attack=attack, model=OPEN, cut=1, defense="toy_learned"))  # done: the fingerprints agree


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["toy_hijack", "toy_read_off"])
def test_a_client_that_detects_stops_and_the_record_says_when(run: Run, attack: str) -> None:
    record = only(run(attack=attack, defense={"name": "toy_alarm", "after": 3}, model=OPEN, cut=1))
    assert record["detected_at"] == 3
    assert record.get("steps_attacked", 3) == 3
    assert "detected" in splitleak.leaderboard([record])["flags"][0].split()
    calm = only(run("calm", attack=attack, defense={"name": "toy_alarm", "after": 99}, model=OPEN, cut=1))
    assert calm["detected_at"] is None
    assert "detected" not in splitleak.leaderboard([calm])["flags"][0].split()


def test_hints_are_left_out_of_the_score(stage: Callable[..., Scene]) -> None:
    scene = stage(**reading("labels", evaluate={"hints": 2}))
    hints, question = scene.hints, scene.question
    assert scene.targets.y[hints].tolist() == [0, 0, 1, 1, 2, 2]
    truth = torch.nn.functional.one_hot(scene.targets.y, 3).double()
    wrong = truth.clone()
    wrong[hints] = 1 - truth[hints]
    assert question.score(wrong) == question.score(truth)
    assert not set(question.counted.tolist()) & set(hints.tolist())
    assert len(question.counted) == len(truth) - 6


@pytest.mark.parametrize(
    ("goal", "dataset"), [("inputs", "toy_flat"), ("labels", "toy_flat"), ("labels", "toy_images")]
)
def test_an_attack_that_holds_the_truth_is_flagged_by_its_null_twin(run: Run, goal: str, dataset: str) -> None:
    record = only(run(attack={"name": "toy_cheat", "goal": goal}, dataset=dataset))
    assert record["metrics"]["advantage"] == pytest.approx(1)
    assert record["null"]["leaks"] is True
    assert "null-leak" in splitleak.leaderboard([record])["flags"][0].split()


LABELS_CROSS = [("eavesdropper", "vanilla", "train", True), ("honest_server", "vanilla", "train", True),
                ("eavesdropper", "vanilla", "test", False), ("eavesdropper", "u_shape", "train", False),
                ("oracle", "vanilla", "train", True), ("oracle", "u_shape", "train", False)]  # fmt: skip


@pytest.mark.parametrize(("threat", "protocol", "whose", "labels"), LABELS_CROSS)
def test_the_floor_is_the_class_mean_exactly_where_labels_are_granted(
    stage: Callable[..., Scene], threat: str, protocol: str, whose: str, labels: bool
) -> None:
    scene = stage(threat=threat, protocol=protocol, evaluate={"targets_from": whose})
    assert (splitleak.contract.Grant.LABELS in scene.grants) is labels
    floor, aux = scene.question.floor, scene.data.aux
    assert floor.kind == ("class mean" if labels else "mean record")
    for i, y in enumerate(scene.targets.y.tolist()):
        wanted = aux.x[aux.y == y] if labels else aux.x
        torch.testing.assert_close(floor.guess[i], wanted.double().mean(0))


def test_the_floor_is_the_mean_of_all_where_classes_look_different_in_the_targets(stage: Callable[..., Scene]) -> None:
    scene = stage(threat="eavesdropper")
    aux, targets = scene.data.aux, scene.targets
    swapped = replace(aux, y=(aux.y + 1) % scene.data.task.size)  # other patients, in whom a class looks like another
    floor = floor_of(Goal.INPUTS, scene.data.task, swapped, targets, scene.grants)
    assert floor.kind == "mean record"
    torch.testing.assert_close(floor.guess, aux.x.double().mean(0).expand_as(floor.guess))


@pytest.mark.slow
def test_a_record_does_not_depend_on_the_random_state_around_it(run: Run) -> None:
    attacks = ["toy_read_off", "toy_hijack", "blind"]
    found = []
    for number in (1, 2):
        torch.manual_seed(number)
        records = run(f"out{number}", attack=attacks, defense="laplace_range")
        found.append([{k: v for k, v in r.items() if not k.startswith("seconds")} for r in records])
    assert [r["status"] for r in found[0]] == ["done"] * len(found[0])
    assert found[0] == found[1]
