"""Shadow victims: what they are trained on, that this tells nothing of the real victim, and who shares them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from splitleak.contract import Data, NotGranted
from splitleak.jobs.schedule import Job, Schedule
from splitleak.plan.cell import Cell
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene
from splitleak.store import Store
from splitleak.train import shadows

Stage = Callable[..., Scene]
SHADOWED = {"attack": {"name": "rmia", "shadows": 2}, "dataset": "toy_coin", "model": "mlp"}


def halves(cell: Cell, data: Data, n: int) -> list[torch.Tensor]:
    """The identities that each of n shadows is trained on."""
    return [shadows.trained_on(one, data) for one in replace(cell, shadows=n).victims[1:]]


def test_every_record_is_in_half_of_the_shadows_and_its_copies_with_it(stage: Stage) -> None:
    flat = {"name": "toy_flat", "shared": True}  # 64 records, four of them twice, and 60 strangers
    scene = stage(attack={"name": "rmia", "shadows": 2}, dataset=flat)
    cell, data = scene.cell, scene.data
    everybody = torch.cat([data.private.id, data.test.id]).unique()
    for even, odd in zip(*[iter(halves(cell, data, 8))] * 2, strict=True):
        assert torch.equal(torch.cat([even, odd]).sort().values, everybody)
        assert len(even) == len(odd) == 62
    for one in cell.victims[1:]:
        used = shadows.data_for(one, data).private
        known, copies = data.private.id.unique(return_counts=True)
        for record, n in zip(known.tolist(), copies.tolist(), strict=True):
            assert int((used.id == record).sum()) in (0, n)
        assert torch.equal(used.id.unique(), shadows.trained_on(one, data).sort().values)
    assert shadows.data_for(cell, data) is data


def test_people_who_are_kept_apart_are_drawn_whole(stage: Stage) -> None:
    scene = stage(attack={"name": "rmia", "shadows": 2})
    everybody = [part.group for part in (scene.data.private, scene.data.test)]
    for one in scene.cell.victims[1:]:
        used = shadows.data_for(one, scene.data).private
        people = used.group.unique()
        assert len(people) == 9  # of 9 private ones and as many strangers
        assert len(used) == sum(int(torch.isin(group, people).sum()) for group in everybody)


def test_the_coin_of_a_record_does_not_depend_on_the_part_that_it_is_in(stage: Stage) -> None:
    scene = stage(**SHADOWED)
    data = scene.data
    drawn = halves(scene.cell, data, 64)
    share = torch.tensor([float(torch.isin(data.private.id, one).double().mean()) for one in drawn])
    assert (share - 0.5).abs().max() < 0.15  # of 120 private records: four and a half deviations
    assert 0.01 < float(share.std()) < 0.06
    swapped = replace(data, private=data.test, test=data.private)
    assert all(map(torch.equal, drawn, halves(scene.cell, swapped, 64)))


def test_a_shadow_shows_what_it_was_trained_on_and_what_it_sends(stage: Stage) -> None:
    tried = Attempt(stage(**SHADOWED))
    one, other = tried.view.shadows
    assert torch.equal(one.trained_on, ~other.trained_on)
    known = shadows.trained_on(tried.scene.cell.victims[1], tried.scene.data)
    assert torch.equal(one.trained_on, torch.isin(tried.scene.targets.id, known))
    assert one.smashed.shape == tried.view.smashed.shape
    assert not torch.equal(one.smashed, other.smashed)
    assert not torch.equal(one.smashed, tried.view.smashed)
    assert torch.equal(one.labels, tried.view.labels)
    before = one.smashed
    one.smashed.zero_()
    assert torch.equal(one.smashed, before)
    assert not any(p.requires_grad for p in one.top.parameters())
    assert {"shadows", "shadow.smashed", "shadow.top", "shadow.trained_on"} <= set(tried.view.has_read)
    with pytest.raises(NotGranted, match=r"there is no 'shadow\.features'"):
        _ = one.features


def test_a_shadow_is_the_same_at_each_look(stage: Stage) -> None:
    scene = stage(**SHADOWED, defense={"name": "laplace_range", "epsilon": 5})
    looks = [Attempt(scene).view.shadows[0].smashed for _ in range(2)]
    assert torch.equal(*looks)


@pytest.mark.slow
def test_both_attacks_and_all_seeds_of_a_victim_share_their_shadows(run: Callable[..., Any], tmp_path: Any) -> None:
    attacks = [{"name": "lira", "shadows": 4}, {"name": "rmia", "shadows": 2}]
    records = run(**SHADOWED | {"attack": attacks}, seed=[0, 1], defense=["none", "nopeek"], train={"epochs": 1})
    assert [r["status"] for r in records] == ["done"] * 8
    assert {r["cell"]["threat"] for r in records} == {"auditor"}
    kept = list((tmp_path / "out" / "victims").glob("*.safetensors"))
    assert len(kept) == 2 * (2 + 4)  # of each defence two seeds and four shadows
    fits = [Store(tmp_path / "out").victim(path.stem) for path in kept]
    assert len({found[1]["fingerprint"] for found in fits if found}) == len(kept)
    scores = records[0]["per_record"]
    assert len(scores["id"]) == len(scores["member"]) == len(scores["score"]) == records[0]["n_targets"]
    assert sum(scores["member"]) == records[0]["n_targets"] / 2
    assert all(r["seconds_attack"] > 0 for r in records)


@pytest.mark.slow
def test_a_kept_shadow_was_trained_on_its_half(run: Callable[..., Any], stage: Stage, tmp_path: Any) -> None:
    scene = stage(**SHADOWED)
    run(**SHADOWED)
    for cell, right in zip(scene.cell.victims[1:], scene.shadows, strict=True):
        kept = Store(tmp_path / "out").victim(cell.victim_key)
        assert kept is not None
        assert kept[1]["fingerprint"] == right.facts.fingerprint


@pytest.mark.slow
def test_a_shadow_that_fails_makes_its_cells_fail_and_no_other(run: Callable[..., Any]) -> None:
    attacks = ["membership", {"name": "rmia", "shadows": 2}]
    with pytest.MonkeyPatch.context() as patch:
        real = shadows.data_for

        def fail(cell: Cell, data: Data) -> Data:
            if cell.shadow is not None:
                raise RuntimeError("no such half")
            return real(cell, data)

        patch.setattr(shadows, "data_for", fail)
        records = run(**SHADOWED | {"attack": attacks}, train={"epochs": 1})
    assert [r["status"] for r in records] == ["done", "failed"]
    assert records[1]["why"] == "its victim failed: RuntimeError: no such half"


def cells(stage: Stage) -> list[Cell]:
    cell = stage(**SHADOWED).cell
    return [cell, replace(cell, attack=cell.attack | {"gamma": 2.0})]


def test_a_cell_waits_for_its_victim_and_for_each_of_its_shadows(stage: Stage) -> None:
    one, other = cells(stage)
    schedule = Schedule(waiting={victim.victim_key: [one, other] for victim in one.victims})
    assert schedule.jobs == 2
    for victim in one.victims[:-1]:
        schedule.free(Job("victim", victim))
        assert not schedule.ready
    schedule.free(Job("victim", one.victims[-1]))
    assert [job.cell.key for job in schedule.ready] == [one.key, other.key]


def test_a_cell_is_lost_once_however_many_of_its_shadows_fail(stage: Stage) -> None:
    one, other = cells(stage)
    schedule = Schedule(waiting={victim.victim_key: [one, other] for victim in one.victims})
    assert [cell.key for cell in schedule.lose(Job("victim", one.victims[1]))] == [one.key, other.key]
    assert schedule.lose(Job("victim", one.victims[2])) == []
    assert schedule.jobs == 0
    schedule.free(Job("victim", one))
    assert not schedule.ready


def test_shadows_that_are_larger_than_the_data_are_told_in_one_line(lab: Any, main: Any) -> None:
    lab.matrix('attack = ["rmia"]', train="epochs = 1\nbatch_size = 4096")
    said = main("run", "m.toml").line
    assert "attack 'rmia': a shadow trains on half of all private records and strangers, here " in said
    assert said.endswith("[train] batch_size must be at most that, not 4096")
