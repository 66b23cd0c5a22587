"""Split training across processes ends with the weights of the in-process run, undisturbed or killed on the way."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from splitleak.contract import Grant
from splitleak.plan import matrix
from splitleak.plan.case import Case
from splitleak.plan.seeds import Stream
from splitleak.score import utility
from splitleak.store import Store
from splitleak.train.data import load_data
from splitleak.train.fit import training_of
from splitleak.train.victim import fresh

from ..conftest import TOYS
from ..forks import Fork, Wire, same, wires

SLOW = """\
import time
from dataclasses import dataclass
import torch
from splitleak.contract import Defense

@dataclass(frozen=True)
class Slow(Defense):
    def smash(self, z):  # noise, and time enough to be killed
        time.sleep(0.04)
        return z + 0.1 * torch.randn_like(z)
"""


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    for toy in ("toy_signals.py", "toy_images.py", "toy_skips.py", "toy_alarm.py"):
        shutil.copy(TOYS / toy, tmp_path)
    (tmp_path / "slow.py").write_text(SLOW)
    yield from wires(tmp_path)


def write(wire: Wire, protocol: str = "vanilla", clients: str = "1", **more: str) -> None:
    rest = {"dataset": '"./toy_signals.py"', "model": '"ecg_cnn"', "defense": '"none"', "train": "epochs = 3"} | more
    (wire.folder / "m.toml").write_text(
        f"""[matrix]
dataset = [{rest["dataset"]}]
model = [{rest["model"]}]
defense = [{rest["defense"]}]
protocol = ["{protocol}"]
clients = [{clients}]
[train]
batch_size = 12
lr = 0.01
{rest["train"]}
"""
    )


class InProcess:
    """The same training in this process, and what each client has at the end."""

    def __init__(self, wire: Wire) -> None:
        whole = matrix.read(wire.folder / "m.toml")
        self.cell = whole.cells[0]
        case = Case.of(self.cell, whole.base)
        self.made = fresh(case, load_data(case, torch.device("cpu")))
        with Stream(self.cell.seeds.of("training")):
            self.running = training_of(self.made)
            for _ in self.running.steps(Grant(0), set()):
                pass
        self.told = utility.by_client(self.made, self.running.parties)

    def check(self, wire: Wire) -> None:
        """Top at the server, bottom and head at each client, and what each client's network is worth."""
        top = {name: t for name, t in self.made.tensors().items() if name.startswith("split.top.")}
        assert same(wire.weights("server", "s"), top)
        for party, told in zip(self.running.parties, self.told, strict=True):
            who = f"client{party.number}"
            own = {f"split.{name}": t for name, t in party.split.state_dict().items() if not name.startswith("top.")}
            assert same(wire.weights(who, "c"), own)
            record = wire.record(who, "c")
            assert record["utility"] == told["utility"]
            assert record["records"] == told["records"]
        assert wire.record("server", "s")["steps"] == self.running.steps_done
        if self.cell.protocol == "vanilla":  # the loss is where the labels are
            assert wire.record("server", "s")["loss_curve"] == self.running.losses
        elif self.cell.clients.n == 1:
            assert wire.record("client0", "c")["loss_curve"] == self.running.losses


def through(wire: Wire, n: int = 1) -> None:
    """Both ends from start to end."""
    forks = [wire.serve(), *(wire.join(k) for k in range(n))]
    for fork in forks:
        assert fork.end() == 0, fork.text


TWO = '{ n = 2, mode = "sequential" }'
SIDE = '{ n = 2, mode = "parallel" }'
SKIPS = {"dataset": '"./toy_images.py"', "model": '"./toy_skips.py"'}  # masks, batch norm, skips that stay at home
NOISE = {"defense": '{ name = "laplace_range", epsilon = 5 }'}
CASES: dict[str, tuple[str, str, dict[str, str]]] = {
    "vanilla": ("vanilla", "1", {"train": 'optimizer = "sgd"\nschedule = "cosine"\nepochs = 3'}),
    "u_shape": ("u_shape", "1", SKIPS),
    "vanilla, in turn": ("vanilla", TWO, {}),
    "vanilla, side by side": ("vanilla", SIDE, {}),
    "u_shape, in turn": ("u_shape", TWO, SKIPS),
    "u_shape, side by side": ("u_shape", SIDE, SKIPS),
    "noise at the cut": ("vanilla", "1", NOISE),
    "a proxy beside the client": ("u_shape", "1", {"defense": '{ name = "proxy_adversary", width = 4 }'}),
    "noise at the server": ("vanilla", TWO, {"defense": '"marvell"'}),
}


@pytest.mark.parametrize(("protocol", "clients", "more"), CASES.values(), ids=CASES.keys())
def test_ends_with_the_bits_of_the_run_in_one_process(wire: Wire, protocol: str, clients: str, more: Any) -> None:
    write(wire, protocol, clients, **more)
    through(wire, 1 if clients == "1" else 2)
    if "proxy" in str(more):  # what the client's defence has learned is with its weights
        reference = InProcess(wire)
        own = {n: t for n, t in reference.made.tensors().items() if not n.startswith("split.top.")}
        assert same(wire.weights("client0", "c"), own)
        return
    InProcess(wire).check(wire)


def test_a_client_that_sees_a_hijack_ends_the_training_and_both_records_say_when(wire: Wire) -> None:
    write(wire, defense='{ name = "./toy_alarm.py", after = 4 }')
    through(wire)
    client, server = wire.record("client0", "c"), wire.record("server", "s")
    assert (client["status"], client["detected_at"], client["steps"]) == ("done", 4, 4)
    assert server["status"] == "done"
    assert server["detected_at"] == 5  # its top has moved once more than the client has let itself be moved
    assert client["utility"] is not None


def begun(wire: Wire, n: int, *more: str) -> list[Fork]:
    """All ends, some way into the third epoch of five."""
    forks = [wire.serve(*more), *(wire.join(k) for k in range(n))]
    forks[0].until(lambda: 2 in wire.kept("server", "s"))
    return forks


@pytest.mark.parametrize(
    "clients",
    ["1", pytest.param(TWO, marks=pytest.mark.slow), pytest.param(SIDE, marks=pytest.mark.slow)],
    ids=["one", "in turn", "side by side"],
)
@pytest.mark.parametrize("victim", ["server", "client"])
def test_killed_and_started_again_it_ends_with_the_same_bits(wire: Wire, victim: str, clients: str) -> None:
    n = 1 if clients == "1" else 2
    write(wire, "vanilla", clients, defense='"./slow.py"', train="epochs = 5")
    forks = begun(wire, n)
    which = 0 if victim == "server" else n
    forks[which].kill(signal.SIGKILL)
    assert forks[which].end() == -signal.SIGKILL
    forks[which] = wire.serve() if victim == "server" else wire.join(n - 1)
    for fork in forks:
        assert fork.end() == 0, fork.text
    faults = wire.record("server", "s")["faults"]
    wanted = ["server restarted"] if victim == "server" else ["lost", "came back"]
    assert [fault["what"] for fault in faults] == wanted
    assert not wire.kept("server", "s")
    assert not list(wire.folder.rglob("*.tmp"))
    if n == 1:
        InProcess(wire).check(wire)
    else:  # noise of two clients is drawn from a stream each, not from one: undisturbed is undisturbed on the wire
        disturbed = [wire.weights("server", "s"), *(wire.weights(f"client{k}", "c") for k in range(n))]
        for folder in ("s", "c"):
            shutil.rmtree(wire.folder / folder)
        through(wire, n)
        whole = [wire.weights("server", "s"), *(wire.weights(f"client{k}", "c") for k in range(n))]
        assert all(same(mine, theirs) for mine, theirs in zip(disturbed, whole, strict=True))


def test_training_goes_on_without_a_client_that_is_not_waited_for(wire: Wire) -> None:
    write(wire, "u_shape", SIDE, defense='"./slow.py"', train="epochs = 5")
    forks = begun(wire, 2, "--lost", "leave")
    forks[2].kill(signal.SIGKILL)
    assert (forks[0].end(), forks[1].end()) == (0, 0), forks[0].text + forks[1].text
    record = wire.record("server", "s")
    assert [(f["client"], f["what"]) for f in record["faults"]] == [(1, "lost"), (1, "left behind")]
    assert record["faults"][0]["epoch"] == record["faults"][1]["epoch"] >= 2
    assert (record["epochs"], set(record["records"])) == (5, {"0"})
    assert "going on without it" in forks[0].text


def test_a_damaged_epoch_is_set_aside_and_the_one_before_is_taken(wire: Wire) -> None:
    write(wire, defense='"./slow.py"', train="epochs = 5")
    forks = begun(wire, 1)
    forks[1].kill(signal.SIGKILL)
    forks[1].end()
    store = Store(wire.folder / "c/wire")
    newest = max(wire.kept("client0", "c"))
    (path,) = store.folder.glob(f"victims/*.client0.epoch{newest}.safetensors")
    path.write_bytes(path.read_bytes()[:-30])
    forks[1] = wire.join()
    assert [fork.end() for fork in forks] == [0, 0], forks[1].text
    assert f"training from epoch {newest - 1}" in forks[1].text
    InProcess(wire).check(wire)
