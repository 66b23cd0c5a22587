"""The server of a federation gets the updates, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak.contract import Update, View
from splitleak.contract.threats import THREATS

from .federations import SGD, Attempt, fed


def test_the_server_of_a_federation_sees_updates_and_nothing_of_a_single_record() -> None:
    seen = {name: threat.on("fedavg") for name, threat in THREATS.items()}
    assert {g.name for g in seen.pop("fed_server")} == {"UPDATES", "ARCHITECTURE", "DEFENSE"}
    assert {g.name for g in seen.pop("oracle")} == {"UPDATES", "ARCHITECTURE", "DEFENSE"}
    assert all(not grants for grants in seen.values())
    assert all(not THREATS["fed_server"].on(protocol) for protocol in ("central", "vanilla", "u_shape"))


def test_updates_are_the_slope_of_the_very_records_that_are_asked_for(attempt: Attempt) -> None:
    """One step of plain SGD: before - after is lr times the mean slope of the batch, and the batch is the group."""

    def look(view: View) -> None:
        model, seen = view.fresh_model(), view.updates
        assert [u.n for u in seen] == [4] * len(seen)
        assert torch.cat([u.targets for u in seen]).sort().values.equal(torch.arange(view.targets))
        found.extend((model, u) for u in seen)

    found: list[tuple[nn.Module, Update]] = []
    asked = fed(rounds=2, local_steps=1, batch_size=4)
    tried = attempt(
        look, "UPDATES|ARCHITECTURE", protocol=asked, clients=2, train=SGD, model={"name": "toy_chain", "norm": False}
    )
    targets = tried.scene.targets
    assert [(u.round, u.client) for _, u in found] == tried.scene.senders
    for model, update in found:
        model.train().load_state_dict(update.before, strict=False)
        loss = F.cross_entropy(model(targets.x[update.targets]), targets.y[update.targets])
        slopes = torch.autograd.grad(loss, list(model.parameters()))
        for (name, _), slope in zip(model.named_parameters(), slopes, strict=True):
            assert torch.allclose(update.before[name] - update.after[name], 0.1 * slope, atol=1e-6)


def test_a_null_twins_updates_have_the_size_of_the_true_ones_and_nothing_else(attempt: Attempt) -> None:
    def look(view: View) -> None:
        seen.append(torch.cat([(u.after[n] - u.before[n]).flatten() for u in view.updates for n in u.before]))

    seen: list[Tensor] = []
    plain = {"model": {"name": "toy_chain", "norm": False}, "protocol": fed(), "clients": 2, "train": SGD}
    for null in (False, True):
        attempt(look, "UPDATES", null=null, **plain)
    assert float(seen[1].std() / seen[0].std()) == pytest.approx(1, abs=0.3)
    assert abs(float(torch.corrcoef(torch.stack(seen))[0, 1])) < 0.5


def test_attacks_on_a_cut_are_skipped_and_say_why(run: Any) -> None:
    (record,) = [r for r in run(protocol=fed(), train=SGD, attack="toy_read_off") if r["status"] == "skipped"]
    assert "under protocol 'fedavg' with this aux does not grant SMASHED" in record["why"]


def test_a_defence_that_does_nothing_here_is_no_row(run: Any) -> None:
    for protocol, defense in ((fed(), "dropout"), ("vanilla", "secagg")):
        (record,) = run(protocol=protocol, defense=defense, train=SGD, attack="blind", out=defense)
        assert record["status"] == "skipped"
        assert record["why"].startswith(f"defense '{defense}")
        assert "does nothing under protocol" in record["why"]
