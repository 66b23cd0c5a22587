"""One end's own part after each epoch, the last two of them, and its record at the end; whole or absent."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from splitleak.contract.errors import BadInput
from splitleak.snapshot import random_state
from splitleak.store import Store, write_json
from splitleak.wire.line import Line

LAST = 2  # epochs: an end is never more than one ahead of another


@dataclass
class Story:
    """What an end remembers beside its weights; the first five go back with them, what happened stays."""

    run: str = ""
    epoch: int = 0
    steps: int = 0
    losses: list[float] = field(default_factory=list)  # where the labels are
    detected_at: int = -1
    seconds: float = 0.0
    faults: list[dict[str, Any]] = field(default_factory=list)
    bytes: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)  # client -> up, down -> kind of message
    left: dict[str, int] = field(default_factory=dict)  # client -> the epoch from which on it was left behind

    def rewind(self, run: str, epoch: int, facts: dict[str, Any] | None) -> None:
        """To the end of an epoch whose `facts` were kept; None: to the beginning."""
        self.run, self.epoch, self.detected_at = run, epoch, -1
        self.steps, self.losses = (facts["steps"], list(facts["losses"])) if facts else (0, [])

    def remember(self, facts: dict[str, Any]) -> None:
        """What happened to one that was killed."""
        for name in ("seconds", "faults", "bytes", "left"):
            setattr(self, name, facts[name])

    def count(self, client: int, line: Line, *, up: bool) -> None:
        """Add what a line has sent (`up`: towards the server) and received, and let it count anew."""
        ways = self.bytes.setdefault(str(client), {"up": {}, "down": {}})
        for way, counted in (("up" if up else "down", line.sent), ("down" if up else "up", line.received)):
            ways[way] = dict(Counter(ways[way]) + counted)
            counted.clear()

    def facts(self) -> dict[str, Any]:
        return asdict(self)


class Keeper:
    """In `<out>/wire`: `<key>.<who>.json` and `victims/<key>.<who>[.epoch<n>].safetensors`."""

    def __init__(self, out: Path, key: str, who: str, made_by: dict[str, str]) -> None:
        self.store, self.name, self.made_by = Store(out / "wire"), f"{key}.{who}", made_by
        for left in self.store.folder.glob(f"**/.{self.name}.*.tmp"):  # what a killed one was writing
            left.unlink(missing_ok=True)

    @property
    def record(self) -> Path:
        return self.store.folder / f"{self.name}.json"

    @property
    def weights(self) -> Path:
        return self.store.victim_path(self.name)

    def epochs(self) -> dict[int, str]:
        """After which epochs this end could go on, with the run that they are of."""
        found = {}
        for path in self.store.victim_path(self.name).parent.glob(f"{self.name}.epoch*.safetensors"):
            number = path.name.removeprefix(f"{self.name}.epoch").partition(".")[0]
            facts = self.store.victim_facts(f"{self.name}.epoch{number}")
            if facts is not None and facts.get("made_by") == self.made_by:
                found[int(number)] = str(facts["run"])
        return found

    def epoch(self, number: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        found = self.store.victim(f"{self.name}.epoch{number}")
        if found is None:
            raise BadInput(f"what was kept after epoch {number} is gone or damaged")
        return found

    def last(self) -> dict[str, Any] | None:
        """The facts of the last one."""
        kept = self.epochs()
        return self.store.victim_facts(f"{self.name}.epoch{max(kept)}") if kept else None

    def keep(self, tensors: dict[str, Tensor], story: Story) -> None:
        """After an epoch, with the random state; epochs before the last two go, and so does a future taken back."""
        random, facts = random_state()
        number, tensors = story.epoch, tensors | random
        facts |= {"made_by": self.made_by} | story.facts()
        self.store.write_victim(f"{self.name}.epoch{number}", tensors, facts)
        self.forget({number - i for i in range(LAST)})

    def forget(self, but: set[int] | None = None) -> None:
        spared = {f"{self.name}.epoch{number}.safetensors" for number in but or ()}
        for path in self.store.victim_path(self.name).parent.glob(f"{self.name}.epoch*.safetensors"):
            if path.name not in spared:
                path.unlink(missing_ok=True)

    def finish(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """The weights first: a record present means that all is there."""
        self.store.write_victim(self.name, tensors, {"made_by": self.made_by})
        write_json(self.record, record)

    def fail(self, record: dict[str, Any]) -> None:
        """Why it ended; the epochs stay, so that the same command can go on from them."""
        write_json(self.record, record)

    def finished(self) -> bool:
        """Was the very same thing trained to its end before?"""
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            return bool(record["status"] == "done" and record["made_by"] == self.made_by)
        except (OSError, ValueError, KeyError, TypeError):  # none, or no record: it is made again
            return False
