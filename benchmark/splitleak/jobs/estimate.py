"""How long a run will take, roughly: timed training steps, and what attacks took in earlier records.

An attack without an earlier record is guessed. One that optimises something, which its parameter `lr` tells, at a
minute, in proportion to the LENGTHS that a matrix sets; any other at a second. One that tampers with the training takes
no less than TAMPERED training steps of its victim for each of its `iterations`. In the reference tables attacks with
`lr` took from a second to five minutes, half of them more than 50 seconds, all others less than a second, and an
iteration of `fsha` as long as 3 to 5 steps of its victim. Too little for large images and for `fsha_published`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch

from splitleak.contract.errors import BadInput
from splitleak.contract.plugin import Spec, defaults
from splitleak.jobs import check
from splitleak.jobs.check import one_each
from splitleak.jobs.steps import Steps, trained
from splitleak.jobs.trial import Trial, try_out
from splitleak.jobs.worker import Worker
from splitleak.plan import plugins
from splitleak.plan.cell import VICTIM, Cell
from splitleak.plan.matrix import Matrix
from splitleak.store import Store

GUESS, QUICK = 60.0, 1.0  # seconds of an attack at its default parameters: that optimises, and that does not
TAMPERED = 3
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
    worker, threads = Worker(folder, matrix.base, device), torch.get_num_threads()
    whole = check.fitted(matrix.cells, worker)
    legal = [cell for cell in whole if not cell.skip]
    torch.set_num_threads(1)  # as in a run
    try:
        trials = try_out(legal, worker)
    finally:
        torch.set_num_threads(threads)
    skipped = {f"skipped: attack '{cell.attack['name']}': {cell.skip}" for cell in whole if cell.skip}
    victims = len(one_each(legal, *VICTIM))
    lines = [*worker.store.warnings, *sorted(skipped)]
    cells = len(whole)
    left_out = f"({cells - len(legal)} skipped)"
    shadows = len({one.victim_key for cell in legal for one in cell.victims[1:]})
    more = f" and {_counted(shadows, 'shadow')}" if shadows else ""
    lines.append(f"{_counted(cells, 'cell')} {left_out} on {_counted(victims, 'victim')}{more}")
    if untried := sum(not trial.tried for trial in trials):
        lines.append(f"{untried} of {len(trials)} networks were built but not trained for a moment, to save time")
    found = estimate(legal, trials, folder, matrix.base)
    return [*lines, found.line(workers, f"{workers} cores") if device == "cpu" else found.line(1, "one GPU")]


def estimate(cells: Sequence[Cell], trials: Sequence[Trial], folder: Path, base: Path) -> Estimate:
    """The estimate for a whole run of these cells; `folder` may hold earlier records."""
    steps = Steps(trials)
    everyone = trained([victim for cell in cells for victim in cell.victims])
    victims = [steps.of_training(cell) * steps.seconds(cell) for cell in everyone]
    known, guessed, seconds = earlier(folder), 0, 0.0
    for cell in cells:
        found = known.get((plugins.label("attack", cell.attack, base), cell.null))
        guessed += found is None and _optimises(cell.attack)
        seconds += _guess(cell, base, steps) if found is None else found
    basis = _basis(guessed, bool(known), folder)
    return Estimate(sum(victims) / 60, seconds / 60, max(victims, default=0.0) / 60, basis)


def _basis(guessed: int, known: bool, folder: Path) -> str:
    """Where the minutes of the attacks come from."""
    minutes = f"guessed at about {GUESS / 60:.0f} minute each"
    if known:
        return f"records in {folder}" + (f", {guessed} attacks {minutes}" if guessed else "")
    return f"attacks {minutes}" if guessed else "attacks of about a second"


def earlier(folder: Path) -> Seconds:
    """Mean seconds of the cells that were done in a results folder; nothing where it cannot be read."""
    try:
        records = Store(folder, read_only=True).records()
    except BadInput:
        return {}
    found: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for record in records:
        if record["status"] == "done":
            found[record["labels"]["attack"], bool(record["cell"]["null"])].append(record["seconds"])
    return {key: mean(times) for key, times in found.items()}


def _guess(cell: Cell, base: Path, steps: Steps) -> float:
    seconds = GUESS * _length(cell.attack, base) if _optimises(cell.attack) else QUICK
    if cell.tampers:
        seconds = max(seconds, TAMPERED * cell.attack.get("iterations", 0) * steps.seconds(cell))
    return seconds * (2 if cell.null else 1)  # again on the null channel


def _optimises(attack: Spec) -> bool:
    return "lr" in attack


def _length(attack: Spec, base: Path) -> float:
    """The steps of an attack, divided by the steps of its defaults."""
    usual = defaults(plugins.find("attack", attack["name"], base))
    counted = [name for name in LENGTHS if type(usual.get(name)) is int and type(attack.get(name)) is int]
    whole = sum(usual[name] for name in counted)
    return float(sum(attack[name] for name in counted) / whole) if whole else 1.0


def _number(minutes: float) -> str:
    return f"{minutes:.1f}" if minutes < 10 else f"{minutes:.0f}"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
