"""The figures published for split ECG beside ours: accuracy, and the 'visual invertibility' with its corrections.

`python -m splitleak.report.published RUNS OUT.csv` reads the victims of `splitleak run ecg_published --out RUNS`.
Source of the reported figures: Abuadbba et al., AsiaCCS 2020, tables and logs of their code.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from splitleak.jobs.worker import Worker
from splitleak.plan import matrix
from splitleak.plan.cell import Cell
from splitleak.plan.seeds import Stream
from splitleak.report import command, csv_file
from splitleak.report.invertibility import invertibility
from splitleak.score import channel
from splitleak.score.targets import unique
from splitleak.train.facts import Kept
from splitleak.train.victim import fresh

RECORDS = 320  # ten batches of test beats


@dataclass(frozen=True)
class Reported:
    """Best test accuracy of any epoch; distance correlation of the mean and of the top channel; the top one's DTW."""

    accuracy: float | None = None
    dcor_mean: float | None = None
    dcor_top: float | None = None
    dtw_top: float | None = None


REPORTED = {  # (epsilon of the range noise, convolutions) -> as published
    (None, 2): Reported(0.9844, 0.651, 0.8935, 2.70),
    (10.0, 2): Reported(0.8920, None, 0.656, 23.8),
    (5.0, 2): Reported(0.8365, None, 0.490, 99.7),
    (1.0, 2): Reported(0.5059, None, 0.330, 338.0),
    (None, 4): Reported(0.9774),
    (None, 8): Reported(0.9507, 0.464, 0.688),
}


@dataclass(frozen=True)
class Setting:
    """What rows differ in: one of them is the mean over its seeds."""

    epsilon: float | None  # of the range noise; None: no defence
    layers: int  # convolutions
    softmax_head: bool
    epochs: int

    @classmethod
    def of(cls, cell: Cell) -> Setting:
        return cls(cell.defense.get("epsilon"), cell.model["layers"], cell.model["softmax_head"], cell.train.epochs)

    @property
    def order(self) -> tuple[int, float]:
        """Shallow networks first; of one depth the undefended one, then by falling epsilon."""
        return self.layers, -(self.epsilon or 99)


def table(folder: Path, source: str | Path = "ecg_published") -> list[dict[str, Any]]:
    """A row per setting, the mean over its seeds; settings whose victims are missing are left out."""
    whole = matrix.read(source)
    worker = Worker(folder, whole.base, "cpu")
    rows: dict[Setting, list[dict[str, float]]] = defaultdict(list)
    for cell in {cell.victim_key: cell for cell in whole.cells}.values():
        kept = Kept.read(worker.store, cell.victim_key)
        if kept is not None and not kept.facts.diverged:
            rows[Setting.of(cell)].append(measured(cell, worker, kept))
    return [row(setting, rows[setting]) for setting in sorted(rows, key=lambda setting: setting.order)]


def row(setting: Setting, found: list[dict[str, float]]) -> dict[str, Any]:
    """The reported figures beside the measured ones."""
    reported = REPORTED.get((setting.epsilon, setting.layers), Reported())
    named: dict[str, Any] = {**vars(setting), "seeds": len(found)}
    named |= {f"reported_{name}": value for name, value in vars(reported).items()}
    return named | {name: sum(f[name] for f in found) / len(found) for name in found[0]}


def measured(cell: Cell, worker: Worker, kept: Kept) -> dict[str, float]:
    """Accuracy of a kept victim, and the similarity of test beats and what it sends for them."""
    case = worker.case(cell)
    data = worker.data(case)
    made = fresh(case, data)
    made.load(kept.tensors)
    beats = unique(data.test).take(torch.arange(RECORDS))
    z = channel.release(made, beats, Stream(cell.seeds.of("published")))["smashed"]
    last = float(kept.facts.utility or 0.0)
    curve = kept.facts.learned.utility_curve or [last]
    best = {"accuracy_best_on_test": max(curve), "accuracy_last_epoch": last}
    return best | invertibility(beats.x, z, cell.train.batch_size, torch.Generator().manual_seed(0))


def main() -> None:
    import pandas as pd

    runs, out = map(Path, command.arguments("RUNS", "OUT.csv"))
    csv_file.write_table(pd.DataFrame(table(runs)), out, "%.4f")


if __name__ == "__main__":
    main()
