"""What the harness costs, measured side by side with doing without it: `make bench`, about three minutes.

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

from splitleak import plugins
from splitleak.contract import Grant, Hooks, Model, Protocol, Records, Split, Task
from splitleak.seeds import Stream
from splitleak.settings import Clients, Train
from splitleak.store import write_json
from splitleak.training import Training, make_optimizer

ALTERNATIONS, TURNS, STEPS = 9, 10, 5  # in an alternation both sides take 10 turns of 5 steps each
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
EVERY = '{ name = "pcat", tail = 100, invert = 100 }, { name = "fsha", iterations = 300, pilot = 100, curve = 100 }'


@dataclass(frozen=True)
class Item:
    """A figure and the bar that it has to keep."""

    item: str
    figure: float
    unit: str
    bar: str
    holds: bool
    detail: str


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
    yield step_cost("vanilla", 1.10)
    yield step_cost("u_shape", 1.15)
    yield from runs(folder)


def step_cost(protocol: Protocol, bar: float) -> Item:
    """A training step through the split loop against one of the same network, unsplit, in a plain loop."""
    sides = plain(protocol), drained(protocol)
    best = [float("inf")] * 2
    for alternation in range(ALTERNATIONS + 1):
        spent = [0.0, 0.0]
        for _ in range(TURNS):
            for side, steps in enumerate(sides):
                start = time.perf_counter()
                for _ in range(STEPS):
                    next(steps)
                spent[side] += time.perf_counter() - start
        if alternation:  # the first one warms up
            best = [min(b, s / TURNS / STEPS * 1e3) for b, s in zip(best, spent, strict=True)]
    detail = f"{best[1]:.2f} ms split, {best[0]:.2f} ms unsplit"
    ratio = best[1] / best[0]
    return Item(f"a training step, {protocol}", ratio, "x", f"<= {bar:.2f}", ratio <= bar, detail)


def network(protocol: Protocol) -> Split:
    with Stream(1):
        model = cast(Model, plugins.make("model", {"name": "ecg_cnn", "layers": 2}, Path.cwd()))
        return model.split((1, 128), Task("classes", 5), 2, protocol)


def records(n: int = 3200) -> Records:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 5, (n,), generator=generator)
    return Records(torch.rand(n, 1, 128, generator=generator), y, torch.arange(n))


def plain(protocol: Protocol) -> Iterator[None]:
    """The loop that everybody writes; `central` in all but name, and without the harness."""
    whole, data, settings = network(protocol), records(), Train()
    optimizer = make_optimizer(settings)(whole.parameters())
    whole.train()
    while True:
        for index in torch.randperm(len(data)).split(settings.batch_size):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(whole(data.x[index]), data.y[index])
            loss.backward()
            optimizer.step()
            yield


def drained(protocol: Protocol) -> Iterator[object]:
    """The split loop with nobody looking, as the harness trains a victim."""
    settings = Train(epochs=10**6)
    training = Training(network(protocol), records(), Task("classes", 5), Hooks(), settings, Clients(), 0)
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
