"""A folder with a matrix, from which honest ends and hostile peers are started in processes of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..conftest import TOYS
from ..forks import Fork, Wire
from .hostile import ALL, hello_of, throw

MATRIX = """[matrix]
dataset = ["./toy_signals.py"]
model = ["ecg_cnn"]
clients = [{clients}]
[train]
epochs = 2
lr = 0.01
batch_size = {batch_size}
"""


class Lab(Wire):
    """The wire of other tests, and hostile peers."""

    def facts(self, number: int) -> dict[str, Any]:
        return hello_of(self.folder / "m.toml", number)

    def hostile(self, act: Callable[[], None]) -> Fork:
        """A process that does this and nothing else."""

        def before() -> None:
            act()
            raise SystemExit(0)

        return self.start([], before)

    def throw(self, name: str, number: int = 0) -> Fork:
        """One attack with the certificate of a client."""
        options, facts = self.certificate(number), self.facts(number)
        return self.hostile(lambda: throw(self.address, options, facts, ALL[name]))


def lab_in(folder: Path, clients: str = "1", batch_size: int = 32) -> Lab:
    shutil.copy(TOYS / "toy_signals.py", folder)
    (folder / "m.toml").write_text(MATRIX.format(clients=clients, batch_size=batch_size))
    return Lab(folder)
