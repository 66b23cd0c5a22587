"""What server and client have in common: settings, files, progress, resuming, and the record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from splitleak.contract import Hooks
from splitleak.contract.errors import BadInput, Diverged
from splitleak.jobs.versions import versions
from splitleak.plan.case import Case
from splitleak.snapshot import random_state, set_random_state
from splitleak.train.checkpoint import is_resumable
from splitleak.wire.certificates import Certificates
from splitleak.wire.end_store import EndStore
from splitleak.wire.progress import Progress


@dataclass(frozen=True)
class EndSettings:
    """How one end runs."""

    certificates: Certificates
    out: Path  # folder of results
    wait: float  # seconds to wait for another end, or for its next message
    say: Callable[[str], None]  # shows the user one line


class Part(Protocol):
    """The part of a victim that one end trains."""

    live: Hooks

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that training changes except random states: tensors, and the defence's plain values."""

    def load(self, tensors: dict[str, Tensor], live: dict[str, Any]) -> None:
        """Give a fresh part what `state` returned."""


class End:
    """One end of a training: "server" or "client <number>"."""

    def __init__(self, case: Case, settings: EndSettings, name: str, made_by: dict[str, str]) -> None:
        self.case, self.cell, self.settings, self.name = case, case.cell, settings, name
        self.store = EndStore(settings.out, f"{self.cell.victim_key}.{name.replace(' ', '')}", made_by)
        self.progress = Progress()
        saved = self.store.last_facts()
        self.resumed = saved is not None  # by a process that goes on from the files of a killed one
        if saved:
            self.progress.recall(saved)
            self.progress.add_fault(f"{name.split()[0]} restarted", epoch=saved["epoch"])

    def is_finished(self) -> bool:
        """Whether this training has ended before; the user is told so."""
        finished = self.store.is_finished()
        if finished:
            self.settings.say(f"already trained; to train again, delete '{self.store.record_path}'")
        return finished

    def resume(self, part: Part, epoch: int, run: str) -> None:
        """Put a fresh part, the progress and the random states where this epoch ended; epoch 0 is the beginning."""
        if not epoch:
            self.progress.rewind(run, 0, None)
            return
        tensors, facts = self.store.load_epoch(epoch)
        part.load(tensors, facts["defense"])
        set_random_state(tensors, facts)
        self.progress.rewind(run, epoch, facts)

    def save_epoch(self, part: Part) -> None:
        """Save all that `resume` needs after the epoch that has just ended, if the defence says its state."""
        if not is_resumable(part.live):
            return
        tensors, live = part.state()
        random_tensors, random_facts = random_state()
        facts = random_facts | self.progress.facts() | {"defense": live}
        self.store.save_epoch(self.progress.epoch, tensors | random_tensors, facts)

    def record(self, status: str, why: str | None = None) -> dict[str, Any]:
        """The record beside the weights. `wire` counts whole messages, also those that were sent again."""
        progress = self.progress
        return {
            "key": self.store.name, "who": self.name, "status": status, "why": why, "cell": self.cell.victim(),
            "made_by": self.store.made_by, "versions": versions(), "steps": progress.steps, "epochs": progress.epoch,
            "seconds_train": progress.seconds, "loss_curve": progress.losses, "detected_at": progress.detected_at,
            "faults": progress.faults, "wire": progress.bytes,
        }  # fmt: skip

    def check_finite(self, learned: dict[str, Tensor]) -> None:
        """Diverged if a weight is no finite number."""
        if not all(bool(t.isfinite().all()) for t in learned.values()):
            raise Diverged(f"the weights are no numbers any more after the last step ({self.progress.steps})")

    def write_failure(self, error: BadInput | Diverged) -> None:
        """Write a record of a training that has begun and cannot go on."""
        if self.progress.run:
            status = "diverged" if isinstance(error, Diverged) else "failed"
            self.store.write_failure(self.record(status, str(error)))
