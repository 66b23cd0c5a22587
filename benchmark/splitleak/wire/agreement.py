"""What both ends must agree on before training: the victim, the code, and the form of the records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from splitleak import __version__
from splitleak.contract import Task
from splitleak.contract.nouns import Form
from splitleak.contract.task import Objective
from splitleak.plan.case import Case
from splitleak.printable import LONGEST, shown
from splitleak.train import fit, provenance
from splitleak.wire.invalid_message import InvalidMessage
from splitleak.wire.message import Message

AXES = ("model", "cut", "protocol", "dataset", "defense", "clients", "train", "seed")  # in the order of reporting


@dataclass(frozen=True)
class Hello:
    """A client's first message. It has the form and the number of the records, and nothing about a single record."""

    version: str
    client: int
    victim: dict[str, Any]
    sources: dict[str, str]
    in_shape: list[int]
    in_range: list[float]
    kind: Literal["classes", "mask", "value"]
    size: int
    objective: Objective
    records: int
    epochs: dict[str, str]  # epochs after which this client can resume -> the run that saved them

    @classmethod
    def of(cls, case: Case, client: int, form: Form, records: int, epochs: dict[int, str]) -> Hello:
        """The message of a client with these records and these saved epochs."""
        task, saved = form.task, {str(epoch): run for epoch, run in epochs.items()}
        return cls(
            __version__, client, case.cell.victim(), sources(case), list(form.in_shape), list(form.in_range),
            task.kind, task.size, task.objective, records, saved,
        )  # fmt: skip

    @classmethod
    def of_message(cls, message: Message) -> Hello:
        """The message at the server; `kinds.py` says which values are legal."""
        hello = cls(**message.facts)
        low, high = hello.in_range
        if not low < high:
            raise InvalidMessage(f"message 'hello': in_range is {[low, high]}; legal: the lower end first")
        return hello

    @property
    def form(self) -> Form:
        low, high = self.in_range
        return Form(tuple(self.in_shape), (float(low), float(high)), Task(self.kind, self.size, self.objective))


def objection(hello: Hello, case: Case, left_behind: dict[str, int]) -> str | None:
    """Why this client cannot take part, or None. left_behind: lost client -> the epoch from which it is missing."""
    n, left = case.cell.clients.n, left_behind.get(str(hello.client))
    different = difference(hello, case)
    if different is not None:
        return different
    if hello.client >= n:
        return f"there are {n} clients, numbered 0 to {n - 1}"
    return None if left is None else f"it was lost, and training continues without it from epoch {left}"


def difference(hello: Hello, case: Case) -> str | None:
    """The first difference between a client's victim and the server's, such as "cut 2, the server has 1"."""
    client, server = _flat(hello.victim), _flat(case.cell.victim())
    for name in sorted({*client, *server}, key=_rank):
        if client.get(name) != server.get(name):
            return f"{name} {_quoted(client.get(name))}, the server has {_quoted(server.get(name))}"
    expected = sources(case)
    for name in sorted({*hello.sources, *expected} - {"torch"}):
        if hello.sources.get(name) != expected.get(name):
            what = f"{name} '{getattr(case.cell, name)['name']}'" if name in ("model", "defense") else f"'{name}'"
            return f"the source of {what} differs from the server's"
    return None


def sources(case: Case) -> dict[str, str]:
    """Hashes of the code of the training and of the plug-ins, which must be the same at both ends."""
    return provenance.sources(case, fit.__file__)


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"lr": 0.1}} -> {"train.lr": 0.1}; the name of a plug-in is "model", not "model.name"."""
    found: dict[str, Any] = {}
    for key, inside in value.items():
        name = prefix if key == "name" and prefix else f"{prefix}.{key}" if prefix else key
        found |= _flat(inside, name) if isinstance(inside, dict) else {name: inside}
    return found


def _rank(name: str) -> tuple[int, str]:
    axis = name.partition(".")[0]
    return AXES.index(axis) if axis in AXES else len(AXES), name


def _quoted(value: Any) -> str:
    return "none" if value is None else shown(value, LONGEST)
