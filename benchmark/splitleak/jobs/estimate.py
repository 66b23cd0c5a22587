"""How long a run will take, roughly: timed training steps, and what attacks took in earlier records.

An attack without an earlier record is guessed. One that optimises something, which its parameter `lr` tells, at a
minute, in proportion to the LENGTHS that a matrix sets; any other at a second. In the reference tables those with `lr`
took from a second to five minutes, half of them more than 50 seconds, and all others less than a second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import mean

import torch

from splitleak.contract.errors import BadInput
from splitleak.contract.plugin import defaults
from splitleak.jobs.check import KIND, one_each
from splitleak.jobs.trial import Trial, local_settings, try_out
from splitleak.jobs.worker import Worker
from splitleak.plan import plugins
from splitleak.plan.cell import VICTIM, Cell, Spec
from splitleak.plan.matrix import Matrix
from splitleak.store import read_records

GUESS, QUICK = 60.0, 1.0  # seconds of an attack at its default parameters: that optimises, and that does not
LENGTHS = ("steps", "iterations", "epochs", "pilot", "tail", "invert")  # parameters that count an attack's own steps

Seconds = dict[tuple[str, bool], float]  # (label of an attack, with its null channel) -> mean of earlier records


@dataclass(frozen=True)
class Estimate:
    """Minutes of one worker. longest: of the victim that takes longest, since no two workers train it together."""

    training: float
    attacks: float
    longest: float
    basis: str  # what the attacks' minutes are from

    def minutes(self, workers: int) -> float:
        return max((self.training + self.attacks) / workers, self.longest)

    def line(self, workers: int, place: str) -> str:
        """`≈ 12 minutes on 2 cores (7 of training, 5 of attacks; an estimate: ...)`."""
        whole, total = self.minutes(workers), self.training + self.attacks
        parts = [_number(whole * part / total) if total else "0" for part in (self.training, self.attacks)]
        shares = f"{parts[0]} of training, {parts[1]} of attacks"
        return f"≈ {_number(whole)} minutes on {place} ({shares}; an estimate: timed training steps, {self.basis})"


def report(matrix: Matrix, folder: Path, device: str, workers: int) -> list[str]:
    """What `splitleak check` prints: notes of the datasets, skipped cells, counts, untried networks and minutes."""
    legal = [cell for cell in matrix.cells if not cell.skip]
    worker, threads = Worker(folder, matrix.base, device), torch.get_num_threads()
    torch.set_num_threads(1)  # as in a run
    try:
        trials = try_out(legal, worker)
    finally:
        torch.set_num_threads(threads)
    skipped = {f"skipped: attack '{cell.attack['name']}': {cell.skip}" for cell in matrix.cells if cell.skip}
    victims = len(one_each(legal, *VICTIM))
    lines = [*worker.store.warnings, *sorted(skipped)]
    lines.append(f"{len(matrix.cells)} cells ({len(matrix.cells) - len(legal)} skipped) on {victims} victims")
    if untried := sum(not trial.tried for trial in trials):
        lines.append(f"{untried} of {len(trials)} networks were built but not trained for a moment, to save time")
    place = f"{workers} cores" if device == "cpu" else "one GPU"
    return [*lines, estimate(legal, trials, folder, matrix.base).line(workers, place)]


def estimate(cells: Sequence[Cell], trials: Sequence[Trial], folder: Path, base: Path) -> Estimate:
    """Of a whole run of these cells; `folder` is where earlier records may lie."""
    victims = [_training(cell, trials) for cell in _trained(cells)]
    known, guessed, seconds = earlier(folder), 0, 0.0
    for cell in cells:
        found = known.get((plugins.label("attack", cell.attack, base), cell.null))
        guessed += found is None and _optimises(cell.attack)
        seconds += _guess(cell, base) if found is None else found
    basis = f"attacks from the records in {folder}"
    if guessed:
        attacks = "attacks" if not known else f"{guessed} attacks without a record in {folder}"
        basis = f"{attacks} guessed at about {GUESS / 60:.0f} minute each"
    return Estimate(sum(victims) / 60, seconds / 60, max(victims, default=0.0) / 60, basis)


def earlier(folder: Path) -> Seconds:
    """Mean seconds of the cells that were done in a results folder; nothing where it cannot be read."""
    try:
        records = read_records(folder)
    except BadInput:
        return {}
    found: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for record in records:
        if record["status"] == "done":
            found[record["labels"]["attack"], bool(record["cell"]["null"])].append(record["seconds"])
    return {key: mean(times) for key, times in found.items()}


def _trained(cells: Sequence[Cell]) -> list[Cell]:
    """One cell for each training: an undefended split with one client is trained once for all its cuts."""
    shared = [c for c in cells if c.defense["name"] == "none" and c.clients.n == 1 and c.cut is not None]
    alone = {id(cell) for cell in shared}
    fields = [name for name in VICTIM if name != "train"]
    return [
        *one_each(shared, *(name for name in fields if name != "cut")),
        *one_each([cell for cell in cells if id(cell) not in alone], *fields),
    ]


def _training(cell: Cell, trials: Sequence[Trial]) -> float:
    """Seconds of a victim's training: its steps times those of a step, or of a similar network's."""
    same = [t for t in trials if all(getattr(t.cell, name) == getattr(cell, name) for name in KIND)]
    near = [t for t in trials if (t.cell.dataset, t.cell.model) == (cell.dataset, cell.model)]
    for group in (same, near, trials):
        if measured := [t.seconds for t in group if t.seconds is not None]:
            return steps_of(cell, same[0].records) * mean(measured)
    return 0.0


def steps_of(cell: Cell, records: int) -> int:
    """Batches of a whole training, with the records divided evenly."""
    n, settings = cell.clients.n, local_settings(cell)
    batches = ceil(records / n / settings.batch_size)
    if cell.federated is None:
        return n * batches * settings.epochs
    one = cell.federated.local_steps or cell.federated.local_epochs * batches
    return max(1, int(n * cell.federated.fraction)) * one * cell.federated.rounds


def _guess(cell: Cell, base: Path) -> float:
    seconds = GUESS * _length(cell.attack, base) if _optimises(cell.attack) else QUICK
    return seconds * (2 if cell.null else 1)  # again on the null channel


def _optimises(attack: Spec) -> bool:
    return "lr" in attack


def _length(attack: Spec, base: Path) -> float:
    """An attack's own steps over those of its defaults."""
    usual = defaults(plugins.find("attack", attack["name"], base))
    counted = [name for name in LENGTHS if type(usual.get(name)) is int and type(attack.get(name)) is int]
    whole = sum(usual[name] for name in counted)
    return float(sum(attack[name] for name in counted) / whole) if whole else 1.0


def _number(minutes: float) -> str:
    return f"{minutes:.1f}" if minutes < 10 else f"{minutes:.0f}"
