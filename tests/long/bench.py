"""What the harness costs, measured side by side with doing without it: `make bench`, about four minutes.

One thread, the same optimiser on both sides, the minimum of nine alternations; the folder is a temporary one.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
import typer

from splitleak.contract import Grant, Hooks, Model, Protocol, Records, Shape, Split, Task
from splitleak.plan import plugins
from splitleak.plan.case import Case
from splitleak.plan.seeds import Stream
from splitleak.plan.settings import Clients, Train
from splitleak.store import write_json
from splitleak.train.data import load_data
from splitleak.train.fit import federation_of
from splitleak.train.loop import Training
from splitleak.train.step import make_optimizer

ALTERNATIONS = 9
CELLS = 12  # of a few seconds each
RESULT = Path("results") / "bench.json"
MATRIX = """\
[matrix]
dataset = [{{ name = "ecg_synthetic", n = 2000 }}]
model = ["ecg_cnn"]
attack = [{attacks}]
[train]
epochs = 1
[evaluate]
targets = 200
"""
EQUAL = ", ".join(f'{{ name = "inverse_network", steps = 150, lr = {3e-3 + i * 1e-6:g} }}' for i in range(CELLS))
EVERY = (
    '{ name = "pcat", align = 10, tail = 100, invert = 100 }, '
    '{ name = "fsha", iterations = 300, pilot = 100, curve = 100 }'
)


@dataclass(frozen=True)
class Item:
    """A figure and the bar that it has to keep."""

    item: str
    figure: float
    unit: str
    bar: str
    holds: bool
    detail: str


@dataclass(frozen=True)
class Step:
    """What one training step is measured on; in an alternation both sides take so many turns of so many steps."""

    model: dict[str, Any]
    cut: int
    protocol: Protocol
    in_shape: Shape
    task: Task
    batch: int
    turns: int
    steps: int

    def network(self) -> Split:
        with Stream(1):
            model = cast(Model, plugins.make("model", self.model, Path.cwd()))
            return model.split(self.in_shape, self.task, self.cut, self.protocol)

    def records(self) -> Records:
        generator, n = torch.Generator().manual_seed(0), 100 * self.batch
        x = torch.rand(n, *self.in_shape, generator=generator)
        if self.task.kind == "mask":
            return Records(x, (x.mean(1, keepdim=True) > 0.5).float(), torch.arange(n))
        return Records(x, torch.randint(0, self.task.size, (n,), generator=generator), torch.arange(n))


ECG = ({"name": "ecg_cnn", "layers": 2}, 2)
STEPS = {
    "a training step, vanilla": (Step(*ECG, "vanilla", (1, 128), Task("classes", 5), 32, 10, 5), 1.10),
    "a training step, u_shape": (Step(*ECG, "u_shape", (1, 128), Task("classes", 5), 32, 10, 5), 1.15),
    "a training step, resnet18": (
        Step({"name": "resnet18"}, 3, "vanilla", (3, 64, 64), Task("classes", 2), 16, 3, 1), 1.05,
    ),
    "a training step, unet": (
        Step({"name": "unet", "width": 16}, 2, "u_shape", (1, 64, 64), Task("mask", 1), 8, 3, 1), 1.05,
    ),
}  # fmt: skip


def main() -> None:
    """Measure, print the table, write results/bench.json; status 1 if a bar is missed."""
    torch.set_num_threads(1)
    items = []
    with tempfile.TemporaryDirectory() as folder:
        for made in measured(Path(folder)):
            items.append(made)
            kept = "holds" if made.holds else "MISSED"
            typer.echo(f"{made.item:42} {made.figure:7.3f} {made.unit:4} {made.bar:8} {kept:7} {made.detail}")
    write_json(RESULT, {"items": [asdict(item) for item in items], "machine": machine()})
    typer.echo(f"written to {RESULT}")
    sys.exit(not all(item.holds for item in items))


def measured(folder: Path) -> Iterator[Item]:
    for item, (step, bar) in STEPS.items():
        yield step_cost(item, step, bar)
    yield wire(folder)
    yield federation()
    yield from runs(folder)


def wire(folder: Path) -> Item:
    """The split loop across two processes over gRPC and TLS against the same in one; the best of three each."""
    from splitleak.wire.throughput import steps_per_second

    found = [steps_per_second(folder / f"wire{i}") for i in range(3)]
    across, alone = (max(side) for side in zip(*found, strict=True))
    detail = f"{across:.0f} against {alone:.0f} steps/s, ecg_cnn, batch 32, loopback"
    return Item("steps across two processes over in one", across / alone, "x", ">= 0.60", across >= 0.6 * alone, detail)


def federation() -> Item:
    """Rounds of three epochs by Flower against the same written as a plain loop; the best of three each."""
    walls = {rounds: [(federated(rounds, True), federated(rounds, False)) for _ in range(3)] for rounds in (2, 8)}
    (short, plain_short), (long, plain_long) = (map(min, zip(*walls[rounds], strict=True)) for rounds in (2, 8))
    ratio = (long - short) / (plain_long - plain_short)
    fixed = (long - plain_long) / 8
    detail = f"{long:.2f} against {plain_long:.2f} s for 8 rounds; {1e3 * fixed:.0f} ms a round is the federation's"
    return Item("rounds of a federation over a plain loop", ratio, "x", "<= 1.30", ratio <= 1.3, detail)


def federated(rounds: int, by_flower: bool) -> float:
    """Seconds for these rounds of two clients, without what comes before and after."""
    from splitleak.plan import matrix
    from splitleak.train import victim
    from splitleak.train.federated import load, weights

    asked: dict[str, Any] = {"name": "fedavg", "rounds": rounds, "local_epochs": 3}
    axes = {"dataset": [{"name": "ecg_pvc_synthetic", "n": 1000}], "model": ["ecg_pvc_net"]}
    cell = matrix.read({"matrix": axes | {"protocol": [asked], "clients": [2]}}).cells[0]
    data = load_data(Case.of(cell, Path.cwd()), torch.device("cpu"))
    network = victim.fresh(Case.of(cell, Path.cwd()), data)
    running = federation_of(network)
    start = time.perf_counter()
    if by_flower:
        running.run(lambda: None)
        return time.perf_counter() - start
    mean = weights(network.split)
    for _ in range(rounds):
        copies = []
        for party in running.parties:
            load(network.split, mean)
            optimizer = make_optimizer(cell.train)(network.split.train().parameters())
            for _ in range(asked["local_epochs"]):
                for x, y in party.batches():
                    optimizer.zero_grad()
                    data.task.loss(network.split(x), y).backward()
                    optimizer.step()
            copies.append(weights(network.split))
        share = [len(party.records) / len(data.private) for party in running.parties]
        mean = {name: torch.stack([w * c[name] for w, c in zip(share, copies, strict=True)]).sum(0) for name in mean}
    return time.perf_counter() - start


def step_cost(item: str, step: Step, bar: float) -> Item:
    """A training step through the split loop against one of the same network, unsplit, in a plain loop."""
    sides = plain(step), drained(step)
    best = [float("inf")] * 2
    for alternation in range(ALTERNATIONS + 1):
        spent = [0.0, 0.0]
        for _ in range(step.turns):
            for side, steps in enumerate(sides):
                start = time.perf_counter()
                for _ in range(step.steps):
                    next(steps)
                spent[side] += time.perf_counter() - start
        if alternation:  # the first one warms up
            best = [min(b, s / step.turns / step.steps * 1e3) for b, s in zip(best, spent, strict=True)]
    detail = f"{best[1]:.2f} ms split, {best[0]:.2f} ms unsplit"
    ratio = best[1] / best[0]
    return Item(item, ratio, "x", f"<= {bar:.2f}", ratio <= bar, detail)


def plain(step: Step) -> Iterator[None]:
    """The loop that everybody writes; `central` in all but name, and without the harness."""
    whole, data, settings = step.network(), step.records(), Train(batch_size=step.batch)
    optimizer = make_optimizer(settings)(whole.parameters())
    whole.train()
    while True:
        for index in torch.randperm(len(data)).split(settings.batch_size):
            optimizer.zero_grad()
            loss = step.task.loss(whole(data.x[index]), data.y[index])
            loss.backward()
            optimizer.step()
            yield


def drained(step: Step) -> Iterator[object]:
    """The split loop with nobody looking, as the harness trains a victim."""
    settings = Train(epochs=10**6, batch_size=step.batch)
    training = Training(step.network(), step.records(), step.task, Hooks(), settings, Clients(), 0)
    return training.steps(Grant(0), set())


def runs(folder: Path) -> Iterator[Item]:
    """Whole processes: workers against each other, a finished matrix, a new attack, memory."""
    rates, walls = {}, {}
    for workers in (1, 2):
        out = folder / str(workers)
        run(folder, out, '"blind"', workers)  # the victim and the judge are there before the clock runs
        walls[workers] = run(folder, out, EQUAL, workers)
        rates[workers] = rate(out, workers)
    ratio = rates[2] / rates[1]
    detail = f"{rates[2]:.3f} against {rates[1]:.3f} cells/s once started; whole: {walls[2]:.0f} s, {walls[1]:.0f} s"
    yield Item("cells per second, two workers over one", ratio, "x", ">= 1.80", ratio >= 1.8, detail)
    again = run(folder, folder / "2", EQUAL, 2)
    yield Item("a finished matrix run again", again, "s", "< 5", again < 5, "the whole process")
    before = victims(folder / "2")
    run(folder, folder / "2", f'{EQUAL}, "channel"', 2)
    trained = len(set(victims(folder / "2").items()) - set(before.items()))
    yield Item("victims trained for a new post-hoc attack", trained, "", "0", not trained, f"{len(before)} files kept")
    run(folder, folder / "2", EVERY, 2)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    yield Item("the largest process", peak, "GiB", "< 1.5", peak < 1.5, "of all runs above, fsha and pcat among them")


def run(folder: Path, out: Path, attacks: str, workers: int) -> float:
    """Seconds that the command line takes, from its start to its end."""
    matrix = folder / "bench.toml"
    matrix.write_text(MATRIX.format(attacks=attacks))
    command = [sys.executable, "-c", "from splitleak.cli import main; main()"]
    command += ["run", str(matrix), "--out", str(out), "--workers", str(workers), "--device", "cpu"]
    start = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return time.perf_counter() - start


def rate(out: Path, workers: int) -> float:
    """Cells a second from the moment that every worker has done its first one."""
    ends = sorted(path.stat().st_mtime for path in (out / "records").glob("*.json"))[1:]  # without the blind one
    return (len(ends) - workers) / (ends[-1] - ends[workers - 1])


def victims(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "victims").glob("*")}


def machine() -> dict[str, Any]:
    """Where the figures come from, and how busy it was."""
    cpus = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {
        "cpu": cpus[0] if cpus else platform.processor(),
        "cores": os.cpu_count(),
        "load": json.dumps(os.getloadavg()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(),
    }


if __name__ == "__main__":
    main()
