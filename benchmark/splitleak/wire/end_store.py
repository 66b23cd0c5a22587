"""The files of one end: its part of the training after the last two epochs, and its weights and record at the end."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import Tensor

from splitleak.contract.errors import BadInput
from splitleak.sealed import pack_json, unpack_json
from splitleak.store import Store, write

FORMAT = 2  # of the files after an epoch; those of another format are ignored, and the training begins anew
KEPT = 2  # epochs: an end is never more than one epoch ahead of another


class EndStore:
    """In `<out>/wire`: `<key>.<end>.json` and `victims/<key>.<end>[.epoch<n>].safetensors`, each whole or absent."""

    def __init__(self, out: Path, name: str, made_by: dict[str, str]) -> None:
        self.store, self.name, self.made_by = Store(out / "wire"), name, made_by
        for unfinished in self.store.folder.glob(f"**/.{name}.*.tmp"):  # of a killed process
            unfinished.unlink(missing_ok=True)

    @property
    def record_path(self) -> Path:
        return self.store.folder / f"{self.name}.json"

    def saved_epochs(self) -> dict[int, str]:
        """The epochs after which this end can resume, each with the run that saved it."""
        found = {}
        for path in self._epoch_paths():
            number = path.name.removeprefix(f"{self.name}.epoch").partition(".")[0]
            facts = self.store.victim_facts(f"{self.name}.epoch{number}") or {}
            if (facts.get("format"), facts.get("made_by")) == (FORMAT, self.made_by):
                found[int(number)] = str(facts["run"])
        return found

    def load_epoch(self, number: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and facts as they were saved after this epoch."""
        found = self.store.victim(f"{self.name}.epoch{number}")
        if found is None:
            raise BadInput(f"the file of epoch {number} in '{self.store.folder}' is gone or damaged; start again")
        return found

    def last_facts(self) -> dict[str, Any] | None:
        """The facts of the last saved epoch."""
        saved = self.saved_epochs()
        return self.load_epoch(max(saved))[1] if saved else None

    def save_epoch(self, number: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Save an epoch; delete those before the last two, and later ones that are trained again."""
        facts = facts | {"format": FORMAT, "made_by": self.made_by}
        self.store.write_victim(f"{self.name}.epoch{number}", tensors, facts)
        self.delete_epochs(keep=range(number - KEPT + 1, number + 1))

    def delete_epochs(self, keep: Collection[int] = ()) -> None:
        """Delete the files of all other epochs."""
        kept = {f"{self.name}.epoch{number}.safetensors" for number in keep}
        for path in self._epoch_paths():
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def write_result(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Write the weights, then the record: if the record exists, the weights do too."""
        self.store.write_victim(self.name, tensors, {"made_by": self.made_by})
        write(self.record_path, pack_json(record))

    def write_failure(self, record: dict[str, Any]) -> None:
        """Write why the training failed; the saved epochs stay, so the same command can resume from them."""
        write(self.record_path, pack_json(record))

    def is_finished(self) -> bool:
        """Whether the same training, with the same code and records, has ended before."""
        try:
            record = unpack_json(self.record_path.read_bytes())
            return bool(record["status"] == "done" and record["made_by"] == self.made_by)
        except (OSError, ValueError, KeyError, TypeError):  # no record, or a damaged one, which is written again
            return False

    def _epoch_paths(self) -> list[Path]:
        return list(self.store.victim_path(self.name).parent.glob(f"{self.name}.epoch*.safetensors"))
