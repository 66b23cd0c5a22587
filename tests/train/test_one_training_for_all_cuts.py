"""Where a network is cut does not change what it learns undefended: one training serves all cuts, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from splitleak.jobs import making
from splitleak.jobs.worker import Worker
from splitleak.plan import matrix
from splitleak.train.checkpoint import Checkpoint
from splitleak.train.facts import Learned, VictimFacts
from splitleak.train.fit import Tell
from splitleak.train.victim import Victim

from ..conftest import TOYS, toy_matrix

CLASSES = {"name": "cxr_synthetic", "n": 60, "size": 32, "task": "classes"}
NETWORKS = {
    "signals": {"dataset": "toy_flat"},
    "resnet18": {"dataset": CLASSES, "model": "resnet18"},
    "lenet": {"dataset": CLASSES, "model": "lenet"},
    "unet": {
        "dataset": {"name": "cxr_synthetic", "n": 60, "size": 32}, "model": {"name": "unet", "levels": 3, "width": 4},
        "protocol": "u_shape",
    },
}  # fmt: skip
LATER = {
    "a defence": {"defense": {"name": "laplace_range", "epsilon": 5.0}},
    "two clients": {"clients": {"n": 2}},
}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], list[int]]:
    """`trained()`: the cuts that were really trained, as the processes of the jobs have noted them in a file."""
    noted_in, train = tmp_path / "trained", making._train
    noted_in.touch()

    def noted(made: Victim, checkpoint: Checkpoint, facts: VictimFacts, tell: Tell) -> Learned:
        with noted_in.open("a") as file:
            file.write(f"{facts.victim['cut']}\n")
        return train(made, checkpoint, facts, tell)

    monkeypatch.setattr(making, "_train", noted)
    return lambda: [int(line) for line in noted_in.read_text().split()]


def make(folder: Path, cuts: list[int], **given: Any) -> list[tuple[dict[str, torch.Tensor], dict[str, Any]]]:
    """The kept victims of these cuts, made one after the other in one folder."""
    worker, found = Worker(folder, TOYS, "cpu"), []
    for cut in cuts:
        cell = replace(matrix.read(toy_matrix(**given, attack="blind"), TOYS).cells[0], cut=cut)
        worker.make_victim(cell)
        kept = worker.store.victim(cell.victim_key)
        assert kept is not None
        found.append(kept)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_one_training_serves_all_cuts(tmp_path: Path, trained: Callable[[], list[int]], name: str) -> None:
    cuts = [1, 2]
    first, taken = make(tmp_path / "both", cuts, **NETWORKS[name])
    assert trained() == [1]
    own = make(tmp_path / "alone", [2], **NETWORKS[name])[0]
    assert trained() == [1, 2]
    assert taken[1]["fingerprint"] == own[1]["fingerprint"]
    for told in ("utility", "steps", "loss_curve", "bytes_up", "bytes_down"):
        assert taken[1][told] == own[1][told], told
    assert first[1]["utility"] == own[1]["utility"]


@pytest.mark.parametrize("more", LATER.values(), ids=LATER.keys())
def test_a_defence_and_several_clients_are_trained_at_every_cut(
    tmp_path: Path, trained: Callable[[], list[int]], more: Any
) -> None:
    make(tmp_path, [1, 2], **NETWORKS["lenet"], **more)
    assert trained() == [1, 2]


def test_a_kept_one_of_other_records_or_source_is_not_taken(
    tmp_path: Path, trained: Callable[[], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, [1], **NETWORKS["lenet"])
    monkeypatch.setattr(making, "made_by", lambda *given: {"data": "others"})
    make(tmp_path, [2], **NETWORKS["lenet"])
    assert trained() == [1, 2]
