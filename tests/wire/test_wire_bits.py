"""Split training across processes ends with the weights of the in-process run, also after an end was killed."""

from __future__ import annotations

import shutil
import signal
import time
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
from splitleak.train.ends import ClientEnd
from splitleak.train.fit import training_of
from splitleak.train.victim import fresh

from ..conftest import TOYS
from ..forks import Fork, Wire, same, wire_in

pytestmark = pytest.mark.slow  # each test starts processes

SLOW = """\
import time
from dataclasses import dataclass
import torch
from splitleak.contract import Defense

@dataclass(frozen=True)
class Slow(Defense):
    def smash(self, z):  # noise, and slow enough to be killed in time
        time.sleep(0.04)
        return z + 0.1 * torch.randn_like(z)
"""

COUNTER = """\
from dataclasses import dataclass
from splitleak.contract import Defense, Detected, Hooks

@dataclass(frozen=True)
class Counter(Defense):
    def begin(self, split, seed):
        return Live()

class Live(Hooks):
    batches = 0

    def inspect(self, g, y):
        self.batches += 1
        if self.batches == 20:
            raise Detected("the twentieth batch")

    def state(self):
        return {"batches": self.batches}

    def load_state(self, state):
        self.batches = state["batches"]
"""


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    for toy in ("toy_signals.py", "toy_images.py", "toy_skips.py", "toy_alarm.py"):
        shutil.copy(TOYS / toy, tmp_path)
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "counter.py").write_text(COUNTER)
    yield from wire_in(tmp_path)


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
    """The same training in this process, and the utility of each client at its end."""

    def __init__(self, wire: Wire) -> None:
        whole = matrix.read(wire.folder / "m.toml")
        self.cell = whole.cells[0]
        case = Case.of(self.cell, whole.base)
        self.made = fresh(case, load_data(case, torch.device("cpu")))
        with Stream(self.cell.seeds.of("training")):
            self.running = training_of(self.made)
            for _ in self.running.steps(Grant(0), set()):
                pass
        self.utilities = utility.by_client(self.made, self.running.parties)

    def check(self, wire: Wire) -> None:
        """Compare the top at the server, bottom and head at each client, and the utility of each client."""
        top = {name: t for name, t in self.made.tensors().items() if name.startswith("split.top.")}
        assert same(wire.weights("server", "s"), top)
        for party, expected in zip(self.running.parties, self.utilities, strict=True):
            who = f"client{party.number}"
            own = {f"split.{name}": t for name, t in party.split.state_dict().items() if not name.startswith("top.")}
            assert same(wire.weights(who, "c"), own)
            record = wire.record(who, "c")
            assert record["utility"] == expected["utility"]
            assert record["records"] == expected["records"]
        assert wire.record("server", "s")["steps"] == self.running.steps_done
        if self.cell.protocol == "vanilla":  # the end with the labels has the loss
            assert wire.record("server", "s")["loss_curve"] == self.running.losses
        elif self.cell.clients.n == 1:
            assert wire.record("client0", "c")["loss_curve"] == self.running.losses


def train(wire: Wire, n: int = 1) -> None:
    """Run server and clients to their end."""
    forks = [wire.serve(), *(wire.join(k) for k in range(n))]
    for fork in forks:
        assert fork.end() == 0, fork.text


SEQUENTIAL = '{ n = 2, mode = "sequential" }'
PARALLEL = '{ n = 2, mode = "parallel" }'
SKIPS = {
    "dataset": '"./toy_images.py"',
    "model": '"./toy_skips.py"',
}  # masks, batch norm, skip connections
NOISE = {"defense": '{ name = "laplace_range", epsilon = 5 }'}
CASES: dict[str, tuple[str, str, dict[str, str]]] = {
    "vanilla": ("vanilla", "1", {"train": 'optimizer = "sgd"\nschedule = "cosine"\nepochs = 3'}),
    "u_shape": ("u_shape", "1", SKIPS),
    "vanilla, sequential": ("vanilla", SEQUENTIAL, {}),
    "vanilla, parallel": ("vanilla", PARALLEL, {}),
    "u_shape, sequential": ("u_shape", SEQUENTIAL, SKIPS),
    "u_shape, parallel": ("u_shape", PARALLEL, SKIPS),
    "noise at the cut": ("vanilla", "1", NOISE),
    "a proxy beside the client": ("u_shape", "1", {"defense": '{ name = "proxy_adversary", width = 4 }'}),
    "noise at the server": ("vanilla", SEQUENTIAL, {"defense": '"marvell"'}),
    "labels drawn by the client": ("vanilla", PARALLEL, {"defense": '"label_dp"'}),
}


@pytest.mark.parametrize(("protocol", "clients", "more"), CASES.values(), ids=CASES.keys())
def test_ends_with_the_bits_of_the_run_in_one_process(wire: Wire, protocol: str, clients: str, more: Any) -> None:
    write(wire, protocol, clients, **more)
    train(wire, 1 if clients == "1" else 2)
    if "proxy" in str(more):  # the client keeps what its defence has learned with its weights
        reference = InProcess(wire)
        own = {n: t for n, t in reference.made.tensors().items() if not n.startswith("split.top.")}
        assert same(wire.weights("client0", "c"), own)
        return
    InProcess(wire).check(wire)


def test_a_client_that_detects_a_hijack_ends_the_training_and_both_records_say_when(wire: Wire) -> None:
    write(wire, defense='{ name = "./toy_alarm.py", after = 4 }')
    train(wire)
    client, server = wire.record("client0", "c"), wire.record("server", "s")
    assert (client["status"], client["detected_at"], client["steps"]) == ("done", 4, 4)
    assert server["status"] == "done"
    assert server["detected_at"] == 5  # the top has made one more step than the client
    assert client["utility"] is not None


def in_third_epoch(wire: Wire, n: int, *more: str) -> list[Fork]:
    """All ends, in the third epoch of five."""
    forks = [wire.serve(*more), *(wire.join(k) for k in range(n))]
    forks[0].until(lambda: 2 in wire.saved("server", "s"))
    return forks


@pytest.mark.parametrize(
    "clients",
    ["1", pytest.param(SEQUENTIAL, marks=pytest.mark.slow), pytest.param(PARALLEL, marks=pytest.mark.slow)],
    ids=["one", "sequential", "parallel"],
)
@pytest.mark.parametrize("victim", ["server", "client"])
def test_killed_and_started_again_it_ends_with_the_same_bits(wire: Wire, victim: str, clients: str) -> None:
    n = 1 if clients == "1" else 2
    write(wire, "vanilla", clients, defense='"./slow.py"', train="epochs = 5")
    forks = in_third_epoch(wire, n)
    which = 0 if victim == "server" else n
    forks[which].kill(signal.SIGKILL)
    assert forks[which].end() == -signal.SIGKILL
    forks[which] = wire.serve() if victim == "server" else wire.join(n - 1)
    for fork in forks:
        assert fork.end() == 0, fork.text
    faults = wire.record("server", "s")["faults"]
    wanted = ["server restarted"] if victim == "server" else ["lost", "came back"]
    assert [fault["what"] for fault in faults] == wanted
    assert not wire.saved("server", "s")
    assert not list(wire.folder.rglob("*.tmp"))
    if n == 1:
        InProcess(wire).check(wire)
    else:  # two clients draw noise from a stream each, `run` from one: compare with an undisturbed training
        killed = [wire.weights("server", "s"), *(wire.weights(f"client{k}", "c") for k in range(n))]
        for folder in ("s", "c"):
            shutil.rmtree(wire.folder / folder)
        train(wire, n)
        undisturbed = [wire.weights("server", "s"), *(wire.weights(f"client{k}", "c") for k in range(n))]
        assert all(same(one, other) for one, other in zip(killed, undisturbed, strict=True))


@pytest.mark.parametrize(
    ("defense", "detected_at"),
    [
        ('{ name = "proxy_adversary", width = 4 }', None),
        ('"./counter.py"', 19),  # in the fourth epoch
    ],
    ids=["optimiser of a proxy", "count of a detector"],
)
def test_a_killed_client_resumes_with_the_state_of_its_defence(
    wire: Wire, defense: str, detected_at: int | None
) -> None:
    write(wire, defense=defense, train="epochs = 5")
    forks = [wire.serve(), wire.join(before=slow_client)]
    forks[0].until(lambda: 2 in wire.saved("client0", "c"))
    forks[1].kill(signal.SIGKILL)
    forks[1].end()
    forks[1] = wire.join()
    assert [fork.end() for fork in forks] == [0, 0], forks[1].text
    assert "training from epoch 0" not in forks[1].text
    reference = InProcess(wire)
    assert wire.record("client0", "c")["detected_at"] == detected_at
    assert reference.running.detected_at == (-1 if detected_at is None else detected_at)
    own = {n: t for n, t in reference.made.tensors().items() if not n.startswith("split.top.")}
    assert same(wire.weights("client0", "c"), own)


def slow_client() -> None:
    """In the process: the client is slow enough to be killed in time."""
    send = ClientEnd.send

    def slow(self: ClientEnd, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        time.sleep(0.1)
        return send(self, x, y)

    ClientEnd.send = slow  # type: ignore[method-assign]


def test_with_lost_leave_training_continues_without_a_killed_client(wire: Wire) -> None:
    write(wire, "u_shape", PARALLEL, defense='"./slow.py"', train="epochs = 5")
    forks = in_third_epoch(wire, 2, "--lost", "leave")
    forks[2].kill(signal.SIGKILL)
    assert (forks[0].end(), forks[1].end()) == (0, 0), forks[0].text + forks[1].text
    record = wire.record("server", "s")
    assert [(f["client"], f["what"]) for f in record["faults"]] == [(1, "lost"), (1, "left behind")]
    assert record["faults"][0]["epoch"] == record["faults"][1]["epoch"] >= 2
    assert (record["epochs"], set(record["records"])) == (5, {"0"})
    assert "training continues without it" in forks[0].text


def test_a_damaged_epoch_file_is_set_aside_and_the_epoch_before_is_used(wire: Wire) -> None:
    write(wire, defense='"./slow.py"', train="epochs = 5")
    forks = in_third_epoch(wire, 1)
    forks[1].kill(signal.SIGKILL)
    forks[1].end()
    store = Store(wire.folder / "c/wire")
    newest = max(wire.saved("client0", "c"))
    (path,) = store.folder.glob(f"victims/*.client0.epoch{newest}.safetensors")
    path.write_bytes(path.read_bytes()[:-30])
    forks[1] = wire.join()
    assert [fork.end() for fork in forks] == [0, 0], forks[1].text
    assert f"training from epoch {newest - 1}" in forks[1].text
    InProcess(wire).check(wire)
