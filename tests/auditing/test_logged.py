"""Messages that were written down, where the weights may not leave: the same answers as from the network itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import splitleak
from splitleak import Audit, BadInput
from splitleak.plan import plugins

from ..conftest import Ran
from .test_known_answers import CLASSES, people

CLIENT = nn.Sequential(nn.Conv1d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(80, 12))
SERVER, HEAD = nn.Sequential(nn.Linear(12, 8), nn.ReLU()), nn.Linear(8, CLASSES)
Table = dict[str, Any]


def written_down(first: int) -> Table:
    """Records with everything that a split network sent for them: the gradient of each record's own loss."""
    table = people(first)
    z = CLIENT(torch.from_numpy(table["x"])).detach().requires_grad_()
    features = SERVER(z)
    features.retain_grad()
    F.cross_entropy(HEAD(features), torch.from_numpy(table["y"]), reduction="sum").backward()
    sent = {"z": z, "gradient": z.grad, "features": features, "gradient_features": features.grad}
    return table | {name: t.detach().numpy() for name, t in sent.items() if t is not None}


def without(table: Table, *names: str) -> Table:
    return {name: a for name, a in table.items() if name not in names}


@pytest.fixture(scope="module")
def tables() -> tuple[Table, Table]:
    torch.manual_seed(0)
    for network in (CLIENT, SERVER, HEAD):
        network.apply(lambda layer: getattr(layer, "reset_parameters", lambda: None)())
    return written_down(0), written_down(1000)


@pytest.fixture(scope="module")
def audit(tables: tuple[Table, Table], tmp_path_factory: pytest.TempPathFactory) -> Audit:
    with contextlib.chdir(tmp_path_factory.mktemp("log")):
        return splitleak.audit(None, *tables, out="out", quick=True)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the names of files decide what is drawn


def rows(audit: Audit) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["attack"], row["defense"]): row for row in audit.found["measured"]["attacks"]}


@pytest.mark.slow
def test_messages_in_a_file_are_answered_for_as_those_of_the_network(tables: Any, audit: Audit) -> None:
    sent = ("z", "gradient", "features", "gradient_features")
    plain = [without(table, *sent) for table in tables]
    written, live = rows(audit), rows(splitleak.audit(nn.Sequential(CLIENT), *plain, out="out", quick=True))
    assert written.keys() == live.keys()
    assert len(written) == 4
    for name, row in written.items():
        close = 0.03 if row["goal"] != "inputs" else 1e-4  # clusters and ranks change with the last bit of a message
        assert row["advantage"] == pytest.approx(live[name]["advantage"], abs=close)
        assert row["control_advantage"] == pytest.approx(live[name]["control_advantage"], abs=close)
        assert abs(row["null_advantage"]) < 0.1


@pytest.mark.slow
def test_a_defence_acts_on_messages_in_a_file(tables: Any) -> None:
    strong = {"name": "laplace_range", "epsilon": 0.01}
    found = rows(splitleak.audit(None, *tables, out="out", quick=True, defenses=["none", strong]))
    assert found["least_squares", "none"]["reid_top1"] > 0.2
    assert found["least_squares", "laplace_range(epsilon=0.01)"]["reid_top1"] < 0.03


@pytest.mark.slow
def test_gradients_of_a_u_shape_give_labels_away(tables: Any, tmp_path: Path) -> None:
    members, strangers = tables
    audit = splitleak.audit(None, members, strangers, out="u", quick=True, protocol="u_shape")
    assert rows(audit)["similarity", "none"]["advantage"] > 0.95  # a random network is wrong about most: p - y tells y
    draw = np.random.default_rng(0)
    noise = [t | {"gradient_features": draw.standard_normal(t["features"].shape)} for t in tables]
    silent = splitleak.audit(None, *noise, out="noise", quick=True, protocol="u_shape")
    assert rows(silent)["similarity", "none"]["advantage"] < 0.2
    assert "labels stay at the client" in (tmp_path / "u" / "audit.html").read_text()


@pytest.mark.slow
def test_who_needs_the_network_is_not_tried(audit: Audit) -> None:
    assert audit.found["declared"]["threats"] == ["eavesdropper", "query_server"]
    assert any(line.startswith("whoever has the client's weights") for line in audit.found["not_tested"])
    assert "its messages were written down" in (audit.folder / "audit.html").read_text()


MISTAKES: dict[str, tuple[Callable[[Table], Table], dict[str, Any], str]] = {
    "no messages": (lambda t: without(t, "z"), {}, r"no array z in it.*\(without `client` each file must have"),
    "gradients missing": (lambda t: without(t, "gradient"), {"protocol": "vanilla"}, "needs the array gradient beside"),
    "features missing": (
        lambda t: without(t, "features", "gradient_features"), {"protocol": "u_shape"}, "features and gradient_features"
    ),
    "fewer messages than records": (lambda t: t | {"z": t["z"][:-1]}, {}, r"z is \(239, 12\).*legal: numbers \(240,"),
    "a message that is no number": (lambda t: t | {"z": t["z"] * np.nan}, {}, "z has values that are not finite"),
    "gradients of another shape": (
        lambda t: t | {"gradient": t["gradient"][:, 1:]}, {}, "gradient must be there for each value of z"
    ),
    "weights without a client": (lambda t: t, {"weights": "w.safetensors"}, "weights needs the client"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line(tables: Any, mistake: str) -> None:
    change, given, message = MISTAKES[mistake]
    with pytest.raises(BadInput, match=message) as told:
        splitleak.audit(None, *map(change, tables), out="out", quick=True, **given)
    assert "\n" not in str(told.value)


def test_messages_of_another_shape_for_strangers_are_refused(tables: Any) -> None:
    members, strangers = (without(table, "gradient") for table in tables)
    with pytest.raises(BadInput, match=r"z of strangers is \(11,\) for a record, of members \(12,\)"):
        splitleak.audit(None, members, strangers | {"z": strangers["z"][:, 1:]}, out="out", quick=True)


def test_a_record_that_was_not_written_down_has_no_message(tables: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "members.npz", **tables[0])
    model = plugins.make("model", {"name": "logged", "members": "members.npz"}, tmp_path)
    split = model.split((1, 24), splitleak.contract.Task("classes", CLASSES), 1, "inference")  # type: ignore[attr-defined]
    assert torch.equal(split.bottom(torch.from_numpy(tables[0]["x"][5:7]))[0], torch.from_numpy(tables[0]["z"][5:7]))
    with pytest.raises(BadInput, match="no message was written down for 3 of 3 records"):
        split.bottom(torch.rand(3, 1, 24))


@pytest.mark.slow
def test_the_command_takes_a_declaration_without_a_client(
    tables: Any, tmp_path: Path, main: Callable[..., Ran]
) -> None:
    for name, table in zip(("members", "strangers"), tables, strict=True):
        np.savez(tmp_path / f"{name}.npz", **table)
    (tmp_path / "audit.toml").write_text('members = "members.npz"\nstrangers = "strangers.npz"\ntargets = 60\n')
    ran = main("audit", "--quick", "--out", "out")
    assert ran.status == 0
    assert "cut 1, none:" in ran.out
