"""How much private data leaks when a neural network is split, and what each defence costs.

records = splitleak.run("quick")        # a path, the name of a matrix that ships, or a dict of the same form
table = splitleak.leaderboard(records)  # a pandas table
print(splitleak.audit(client, members, strangers))  # a network and records of one's own

A plug-in imports its base class and its types from this package: `from splitleak import Attack, Goal, Grant, View`.
A record is a dictionary; `Record` documents its fields.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from splitleak.api import leaderboard as leaderboard
    from splitleak.api import run as run
    from splitleak.auditing.outcome import Audit as Audit
    from splitleak.auditing.python import audit as audit
    from splitleak.contract import Attack as Attack
    from splitleak.contract import BadInput as BadInput
    from splitleak.contract import Data as Data
    from splitleak.contract import Dataset as Dataset
    from splitleak.contract import Defense as Defense
    from splitleak.contract import Detected as Detected
    from splitleak.contract import Exposure as Exposure
    from splitleak.contract import Goal as Goal
    from splitleak.contract import Grant as Grant
    from splitleak.contract import Head as Head
    from splitleak.contract import Hooks as Hooks
    from splitleak.contract import Model as Model
    from splitleak.contract import Privacy as Privacy
    from splitleak.contract import Records as Records
    from splitleak.contract import Shadow as Shadow
    from splitleak.contract import Split as Split
    from splitleak.contract import Step as Step
    from splitleak.contract import Task as Task
    from splitleak.contract import Update as Update
    from splitleak.contract import View as View
    from splitleak.records import Record as Record

PLACES = {
    "leaderboard": "api", "run": "api", "Record": "records", "audit": "auditing.python", "Audit": "auditing.outcome",
} | dict.fromkeys(
    (
        "Attack", "BadInput", "Data", "Dataset", "Defense", "Detected", "Exposure", "Goal", "Grant", "Head", "Hooks",
        "Model", "Privacy", "Records", "Shadow", "Split", "Step", "Task", "Update", "View",
    ),
    "contract",
)  # fmt: skip
__all__ = ["__version__", *PLACES]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `splitleak --help` needs no torch."""
    if name in PLACES:
        return getattr(import_module(f"splitleak.{PLACES[name]}"), name)
    raise AttributeError(f"module 'splitleak' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
