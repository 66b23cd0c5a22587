"""What every plug-in is written against; an attack, a defence, a model or a dataset imports from here alone."""

from __future__ import annotations

from splitleak.contract.bases import Attack, Dataset, Model
from splitleak.contract.defense import Defense, Hooks
from splitleak.contract.errors import BadGuess, BadInput, Detected, Diverged, NotGranted
from splitleak.contract.nouns import Data, Exposure, Goal, Grant, Parameters, Privacy, Records, Shape
from splitleak.contract.plugin import Plugin, later
from splitleak.contract.protocols import Protocol
from splitleak.contract.shadow import Shadow
from splitleak.contract.split import Bottom, Head, Split
from splitleak.contract.step import Step
from splitleak.contract.task import Task
from splitleak.contract.view import Update, View

__all__ = [
    "Attack", "BadGuess", "BadInput", "Bottom", "Data", "Dataset", "Defense", "Detected", "Diverged", "Exposure",
    "Goal", "Grant", "Head", "Hooks", "Model", "NotGranted", "Parameters", "Plugin", "Privacy", "Protocol", "Records",
    "Shadow", "Shape", "Split", "Step", "Task", "Update", "View", "later",
]  # fmt: skip
