"""Published figures of attacks beside those measured in the matrices `conformance_*`.

`python -m splitleak.report.conformance RUNS OUT.csv` reads the records of `splitleak run conformance_... --out RUNS`
and writes the table of the docs to its standard output. Figures that are no field of a record are measured here on the
kept victims: the functionality of a stand-in for the client is the test accuracy of the server's part behind it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from splitleak.attacks.pcat import Pcat
from splitleak.attacks.unsplit import Unsplit
from splitleak.jobs.worker import Worker
from splitleak.plan import matrix
from splitleak.plan.cell import Cell
from splitleak.records import Record
from splitleak.report import command, csv_file
from splitleak.report.published_attacks import FIGURES, MATRICES, Figure
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene
from splitleak.train.facts import Kept

TENTH = 0.1  # what is off by more needs a reason
SHOWN = ["paper", "setting", "variant", "metric", "reported", "measured", "ratio"]
COLUMNS = [*SHOWN, "seeds", "utility", "floor", "matrix", "cut", "attack"]


def table(folder: Path) -> list[dict[str, Any]]:
    """A row for each figure that has been measured: the mean over seeds."""
    return [row for name in MATRICES for row in rows(folder, name)]


def rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The figures of one matrix."""
    whole = matrix.read(name, data="real")
    worker = Worker(folder, whole.base, "cpu")
    found: dict[tuple[int | None, str], list[tuple[Cell, Record]]] = {}
    for cell in whole.cells:
        record = worker.store.record(cell.key)
        if record is not None and record["status"] == "done":
            found.setdefault((cell.cut, record["labels"]["attack"]), []).append((cell, record))  # type: ignore[arg-type]
    for figure in FIGURES:
        if figure.matrix == name and (figure.cut, figure.attack) in found:
            yield row(figure, found[figure.cut, figure.attack], worker)


def row(figure: Figure, found: list[tuple[Cell, Record]], worker: Worker) -> dict[str, Any]:
    """The reported figure beside the mean of the measured ones."""
    measured = mean(figure.scale * value(figure, cell, record, worker) for cell, record in found)
    first = found[0][1]
    beside = {"seeds": len(found), "utility": mean(record["utility"] for _, record in found)}
    if figure.metric == "mse":
        beside["floor"] = figure.scale * first["metrics"]["mse_floor"]
    return {name: getattr(figure, name, None) for name in COLUMNS} | beside | {
        "measured": measured, "ratio": measured / figure.reported,
    }  # fmt: skip


def value(figure: Figure, cell: Cell, record: Record, worker: Worker) -> float:
    """One seed's figure, before its scale."""
    if figure.step is not None:
        return next(point["error"] for point in record["curve"] if point["step"] == figure.step)
    if figure.metric != "functionality":
        metrics: dict[str, Any] = dict(record["metrics"])
        return float(metrics[figure.metric])
    case = worker.case(cell)
    kept = Kept.read(worker.store, cell.victim_key)
    if kept is None:
        raise RuntimeError(f"the victim of {figure.attack} is missing")
    return functionality(Scene(case, worker.data(case), kept))


def functionality(scene: Scene) -> float:
    """The test accuracy of the trained server's part behind the attacker's stand-in for the client."""
    attempt = Attempt(scene)
    with attempt.own:
        if isinstance(scene.attack, Pcat):
            stand_in = scene.attack._stand_in(attempt.view).client
        elif isinstance(scene.attack, Unsplit):
            stand_in = scene.attack._solve(attempt.view)[2]
        else:
            raise TypeError(f"attack '{scene.attack}' makes no stand-in for the client")
    attempt.settle()
    top, test = attempt.victim.split.top.eval(), scene.data.test
    with torch.no_grad():
        right = [(top(stand_in.eval()(x)).argmax(1) == y).float().sum()
                 for x, y in zip(test.x.split(500), test.y.split(500), strict=True)]  # fmt: skip
    return float(sum(right, torch.zeros(()))) / len(test)


def markdown(found: list[dict[str, Any]]) -> str:
    """The table of the docs; a ratio that is off by more than a tenth is bold."""
    lines = [f"| {' | '.join(SHOWN)} |", f"| {' | '.join('---' for _ in SHOWN)} |"]
    for one in found:
        ratio = f"{one['ratio']:.2f}"
        ratio = ratio if abs(one["ratio"] - 1) <= TENTH else f"**{ratio}**"
        numbers = [f"{one[name]:.4g}" for name in ("reported", "measured")]
        lines.append(f"| {' | '.join([*(one[name] for name in SHOWN[:4]), *numbers, ratio])} |")
    return "\n".join(lines)


def main() -> None:
    import pandas as pd

    runs, out = map(Path, command.arguments("RUNS", "OUT.csv"))
    found = table(runs)
    csv_file.write_table(pd.DataFrame(found, columns=COLUMNS), out, "%.5g")
    sys.stdout.write(f"{markdown(found)}\n")


if __name__ == "__main__":
    main()
