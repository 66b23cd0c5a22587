"""A training that was killed between two epochs ends with the same weights, bit for bit, as one that was not."""

from __future__ import annotations

import ast
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from splitleak.contract import BadInput, Data, Defense, Hooks
from splitleak.plan import matrix, plugins
from splitleak.plan.case import Case
from splitleak.plan.cell import Cell
from splitleak.score import utility
from splitleak.store import Store
from splitleak.train import checkpoint, victim
from splitleak.train.data import load_data
from splitleak.train.facts import Learned
from splitleak.train.fit import Fit

from ..conftest import TOYS, toy_matrix

KEPT = {
    "a plain network": {"dataset": "toy_flat"},
    "noise": {"dataset": "toy_flat", "defense": {"name": "laplace_range", "epsilon": 5.0}},
    "momentum": {"dataset": "toy_flat", "train": {"optimizer": "sgd", "schedule": "cosine"}},
    "clients in turn": {"dataset": "toy_images", "model": "toy_skips", "protocol": "u_shape", "clients": {"n": 2}},
    "clients side by side": {
        "dataset": "toy_images", "model": "toy_skips", "protocol": "u_shape", "clients": {"n": 2, "mode": "parallel"},
    },
    "clients that share a proxy": {
        "dataset": "toy_flat", "defense": {"name": "proxy_adversary", "width": 4}, "clients": {"n": 2},
    },
    "clients with optimisers of their own": {
        "dataset": "toy_flat", "model": {"name": "toy_chain", "norm": False}, "defense": "dp_sgd", "clients": {"n": 2},
    },
}  # fmt: skip


class Killed(Exception):
    pass


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every epoch."""
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)


class Lab:
    """One cell; every `train` begins with a fresh network, as a run that is started again does."""

    def __init__(self, folder: Path, **given: Any) -> None:
        given["train"] = {"epochs": 4, "curve": True} | given.get("train", {})
        self.cell = matrix.read(toy_matrix(**given), TOYS).cells[0]
        self.case = Case.of(self.cell, TOYS)
        assert self.cell.skip is None, self.cell.skip
        self.store, self.data = Store(folder), data_of(self.cell)
        self.made_by = {"data": "these"}

    def train(self, ends_after: int | None = None) -> tuple[victim.Victim, Learned, int]:
        """The victim, its facts, and how many epochs were really trained."""
        fresh, kept = self.fresh(), Watched(self, ends_after)
        return fresh, Fit(fresh, lambda now: utility.on_test(now)[1], kept).run(), kept.epochs

    def fresh(self) -> victim.Victim:
        return victim.fresh(self.case, self.data)

    def path(self) -> Path:
        return self.store.victim_path(f"{self.cell.victim_key}.checkpoint")


LOADED: dict[str, Data] = {}


def data_of(cell: Cell) -> Data:
    """Records are loaded once: no training changes them."""
    if (key := str(cell.dataset)) not in LOADED:
        LOADED[key] = load_data(Case.of(cell, TOYS), torch.device("cpu"))
    return LOADED[key]


class Watched(checkpoint.Checkpoint):
    def __init__(self, lab: Lab, ends_after: int | None) -> None:
        super().__init__(lab.store, lab.cell.victim_key, lab.made_by)
        self.ends_after, self.epochs = ends_after, 0

    def save_if_due(self, running: Any, curve: list[float]) -> None:
        super().save_if_due(running, curve)
        self.epochs += 1
        if running.epochs_done == self.ends_after:
            raise Killed


@pytest.mark.parametrize("given", KEPT.values(), ids=KEPT.keys())
def test_goes_on_from_the_last_checkpoint_bit_for_bit(tmp_path: Path, at_once: None, given: Any) -> None:
    whole, facts, _ = Lab(tmp_path / "whole", **given).train()
    lab = Lab(tmp_path / "killed", **given)
    for moment in (1, 3):
        with pytest.raises(Killed):
            lab.train(ends_after=moment)
    made, again, epochs = lab.train()
    assert epochs == 1
    assert made.fingerprint() == whole.fingerprint()
    for name in ("steps", "loss_curve", "utility_curve"):
        assert getattr(again, name) == getattr(facts, name), name


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


def test_short_trainings_write_nothing_and_finished_ones_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    lab = Lab(tmp_path, dataset="toy_flat")
    lab.train()
    assert not lab.path().exists()
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    run(dataset="toy_flat", train={"epochs": 3})
    assert [path.name for path in tmp_path.rglob("*.checkpoint.*")] == []
    assert len(list(tmp_path.rglob("victims/*"))) >= 1


# Every defence that ships ---------------------------------------------------------------------------

DEFENSES = plugins.names("defense")
CHOSEN: dict[str, dict[str, Any]] = {
    "proxy_adversary": {"width": 4},
    "scrutinizer": {"warmup": 1, "window": 4},
    "splitguard": {"start": 1, "p_fake": 0.5},  # a few batches are enough to see fake ones
}
BATCH, BATCH_OF = 167, {"dp_sgd": 100}  # of 501 records: its last batch, of 101, is the largest of an epoch


def made(name: str) -> Defense:
    defense = plugins.make("defense", {"name": name} | CHOSEN.get(name, {}), TOYS)
    assert isinstance(defense, Defense)
    return defense


SPLIT = [name for name in DEFENSES if "vanilla" in made(name).protocols]


class Beats(Lab):
    """Three epochs of a small network on simulated beats, under a defence."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(
            folder,
            dataset={"name": "ecg_synthetic", "n": 501},
            model="ecg_cnn",
            defense={"name": name} | CHOSEN.get(name, {}),
            train={"epochs": 3, "curve": False, "batch_size": BATCH_OF.get(name, BATCH)},
        )

    def outcome(self, ends_after: int | None = None) -> tuple[str, Any, int]:
        """The weights' fingerprint, what the live defence holds, and the steps."""
        trained, facts, _ = self.train(ends_after)
        return trained.fingerprint(), held(trained.live), facts.steps


def held(thing: Any) -> Any:
    """What an object holds, all the way down, as values that can be compared; of functions and the like the type."""
    if isinstance(thing, bool | int | float | str | None):
        return thing
    if isinstance(thing, Tensor):
        return thing.tolist()
    if isinstance(thing, list | tuple | deque):
        return [held(part) for part in thing]
    if isinstance(thing, dict):
        return {str(name): held(part) for name, part in thing.items()}
    if isinstance(thing, torch.Generator):
        return thing.get_state().tolist()
    if isinstance(thing, torch.optim.Optimizer):
        counts = {name: part for name, part in vars(thing).items() if isinstance(part, int)}
        return [held(thing.state_dict()), counts]
    if isinstance(thing, Hooks):
        return {name: held(part) for name, part in vars(thing).items() if name != "folder"}
    return held(dict(thing.state_dict())) if isinstance(thing, nn.Module) else type(thing).__name__


def killed_and_resumed(folder: Path, name: str) -> tuple[str, Any, int]:
    lab = Beats(folder, name)
    with pytest.raises(Killed):
        lab.train(ends_after=1)
    assert lab.path().exists()
    return lab.outcome()


@pytest.mark.parametrize("name", SPLIT)
def test_every_defence_goes_on_bit_for_bit_and_with_its_counters(tmp_path: Path, at_once: None, name: str) -> None:
    assert killed_and_resumed(tmp_path / "killed", name) == Beats(tmp_path / "whole", name).outcome()


REMEMBERS = ["dp_sgd", "proxy_adversary", "scrutinizer", "shredder", "splitguard"]


def test_the_defences_that_remember_something_beside_weights_are_these(tmp_path: Path) -> None:
    own = [name for name in SPLIT if type(Beats(tmp_path, name).fresh().live).state is not Hooks.state]
    assert own == sorted([*REMEMBERS, "label_dp", "quantize", "top_k"])  # these three say that they have none


@pytest.mark.parametrize("name", REMEMBERS)
def test_a_defence_that_forgot_its_state_would_be_found_out(
    tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    lab = Beats(tmp_path / "whole", name)
    whole, live = lab.outcome(), type(lab.fresh().live)
    monkeypatch.setattr(live, "state", Hooks.state)
    monkeypatch.setattr(live, "load_state", Hooks.load_state)
    monkeypatch.setattr(checkpoint, "is_resumable", lambda live: True)  # otherwise it would start over
    assert killed_and_resumed(tmp_path / "killed", name) != whole


@pytest.mark.parametrize("name", sorted(set(DEFENSES) - set(SPLIT)))
def test_a_defence_of_federations_alone_keeps_nothing_in_split_training(name: str) -> None:
    defense = made(name)
    assert defense.protocols == ("fedavg",)
    assert type(defense).begin is Defense.begin


class Careless(Hooks):
    def state(self) -> dict[str, Any]:
        return {"areas": deque([0.5])}


def test_a_state_that_no_file_can_hold_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"state\(\) returns 'areas', a deque; it must be a tensor, a number"):
        checkpoint.live_state(Careless())


def test_a_live_defence_comes_back_from_tensors_and_plain_values() -> None:
    class Live(nn.Module, Hooks):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.given: dict[str, Any] = {}

        def state(self) -> dict[str, Any]:
            return {"t": torch.arange(3), "n": 2, "words": ["a", None, [1.5, True]], "none": torch.zeros(0, 4)}

        def load_state(self, state: dict[str, Any]) -> None:
            self.given = state

    one, other = Live(), Live()
    tensors, plain = checkpoint.live_state(one)
    assert plain == {"n": 2, "words": ["a", None, [1.5, True]]}
    checkpoint.load_live_state(other, tensors | {"split.weight": torch.zeros(1)}, plain)
    assert torch.equal(one.layer.weight, other.layer.weight)
    assert held(other.given) == held(one.state())


def test_a_live_defence_that_does_not_say_its_state_starts_over(tmp_path: Path, at_once: None) -> None:
    """It may have a counter that nobody keeps: to go on would end with other bits."""
    lab = Lab(tmp_path, dataset="toy_flat", defense={"name": "toy_alarm", "after": 10**6})
    with pytest.raises(Killed):
        lab.train(ends_after=2)
    assert not lab.path().exists()
    assert lab.train()[2] == 4


@pytest.mark.parametrize("name", plugins.names("defense"))
def test_every_shipped_defence_says_its_state(name: str) -> None:
    for node in ast.walk(ast.parse(Path(f"defenses/{name}.py").read_text())):
        if isinstance(node, ast.ClassDef) and any("Hooks" in ast.unparse(base) for base in node.bases):
            assert "state" in {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
