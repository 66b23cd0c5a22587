"""A training that was killed between two epochs ends with the very weights of one that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from splitleak.plan import matrix
from splitleak.store import Store
from splitleak.train import checkpoint as halfway
from splitleak.train import victim

from .conftest import TOYS, toy_matrix

KEPT = {
    "a plain network": {"dataset": "toy_flat"},
    "noise": {"dataset": "toy_flat", "defense": {"name": "laplace_range", "epsilon": 5.0}},
    "momentum": {"dataset": "toy_flat", "train": {"optimizer": "sgd", "schedule": "cosine"}},
    "clients in turn": {"dataset": "toy_images", "model": "toy_skips", "protocol": "u_shape", "clients": {"n": 2}},
    "clients side by side": {
        "dataset": "toy_images", "model": "toy_skips", "protocol": "u_shape", "clients": {"n": 2, "mode": "parallel"},
    },
}  # fmt: skip


class Killed(Exception):
    pass


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halfway, "EVERY", 0.0)


class Lab:
    """One cell; every `train` begins with a fresh network, as a run that is started again does."""

    def __init__(self, folder: Path, **given: Any) -> None:
        given["train"] = {"epochs": 4, "curve": True} | given.get("train", {})
        self.cell = matrix.read(toy_matrix(**given), TOYS).cells[0]
        assert self.cell.skip is None, self.cell.skip
        self.store, self.data = Store(folder), victim.load_data(self.cell, TOYS, torch.device("cpu"))
        self.made_by = {"data": "these"}

    def train(self, ends_after: int | None = None) -> tuple[victim.Victim, dict[str, Any], int]:
        """The victim, its facts, and how many epochs were really trained."""
        made, kept = victim.fresh(self.cell, self.data, TOYS), Watched(self, ends_after)
        return made, victim.train(made, kept), kept.epochs

    def path(self) -> Path:
        return self.store.victim_path(f"{self.cell.victim_key}.half")


class Watched(halfway.Halfway):
    def __init__(self, lab: Lab, ends_after: int | None) -> None:
        super().__init__(lab.store, lab.cell.victim_key, lab.made_by)
        self.ends_after, self.epochs = ends_after, 0

    def keep(self, running: Any, curve: list[float]) -> None:
        super().keep(running, curve)
        self.epochs += 1
        if running.epochs_done == self.ends_after:
            raise Killed


@pytest.mark.parametrize("given", KEPT.values(), ids=KEPT.keys())
def test_goes_on_from_the_last_epoch_that_was_kept_bit_for_bit(tmp_path: Path, at_once: None, given: Any) -> None:
    whole, facts, _ = Lab(tmp_path / "whole", **given).train()
    lab = Lab(tmp_path / "killed", **given)
    for moment in (1, 3):
        with pytest.raises(Killed):
            lab.train(ends_after=moment)
    made, again, epochs = lab.train()
    assert epochs == 1
    assert made.fingerprint() == whole.fingerprint()
    for name in ("steps", "loss_curve", "utility_curve"):
        assert again[name] == facts[name], name


def test_without_the_random_state_noise_would_not_be_the_same(
    tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Lab(tmp_path / "whole", **KEPT["noise"]).train()[0]
    lab = Lab(tmp_path / "killed", **KEPT["noise"])
    with pytest.raises(Killed):
        lab.train(ends_after=2)
    monkeypatch.setattr(torch, "set_rng_state", lambda state: torch.manual_seed(0))
    assert lab.train()[0].fingerprint() != whole.fingerprint()


def test_of_other_records_or_source_it_starts_over(tmp_path: Path, at_once: None) -> None:
    lab = Lab(tmp_path, dataset="toy_flat")
    with pytest.raises(Killed):
        lab.train(ends_after=2)
    lab.made_by = {"data": "others"}
    assert lab.train()[2] == 4


def test_a_damaged_one_is_set_aside_and_training_starts_over(tmp_path: Path, at_once: None) -> None:
    lab = Lab(tmp_path, dataset="toy_flat")
    with pytest.raises(Killed):
        lab.train(ends_after=2)
    lab.path().write_bytes(lab.path().read_bytes()[:-40])
    assert lab.train()[2] == 4
    assert "damaged" in lab.store.warnings[0]


def test_a_defence_with_a_state_of_its_own_is_not_kept_halfway(tmp_path: Path, at_once: None) -> None:
    lab = Lab(tmp_path, dataset="toy_flat", defense={"name": "proxy_adversary", "width": 4})
    lab.train()
    assert not lab.path().exists()


def test_short_trainings_write_nothing_and_finished_ones_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    lab = Lab(tmp_path, dataset="toy_flat")
    lab.train()
    assert not lab.path().exists()
    monkeypatch.setattr(halfway, "EVERY", 0.0)
    run(dataset="toy_flat", train={"epochs": 3})
    assert [path.name for path in tmp_path.rglob("*.half.*")] == []
    assert len(list(tmp_path.rglob("victims/*"))) >= 1
