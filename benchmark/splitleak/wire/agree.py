"""What both ends must agree on before anything is trained: one victim, the same code, the same kind of records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import ConfigDict, Field

from splitleak import __version__
from splitleak.contract import Task
from splitleak.contract.errors import BadInput
from splitleak.contract.nouns import Form
from splitleak.contract.task import Objective
from splitleak.only import select
from splitleak.plan import matrix as matrices
from splitleak.plan import plugins
from splitleak.plan.case import Case
from splitleak.train import fit, provenance

Positive = Annotated[int, Field(ge=1)]
TOLD = ("model", "cut", "protocol", "dataset", "defense", "clients", "train", "seed")


@dataclass(frozen=True)
class Hello:
    """What a client says first. Of its records: their form and how many there are, and nothing of any one of them."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    version: str
    client: Annotated[int, Field(ge=0)]
    victim: dict[str, Any]
    sources: dict[str, str]
    in_shape: Annotated[list[Positive], Field(min_length=1)]
    in_range: Annotated[list[float], Field(min_length=2, max_length=2)]
    kind: Literal["classes", "mask", "value"]
    size: Positive
    objective: Objective
    records: Annotated[int, Field(ge=2)]
    epochs: dict[str, str]  # after which it could go on: number -> the run that they are of

    @property
    def form(self) -> Form:
        low, high = self.in_range
        return Form(tuple(self.in_shape), (low, high), Task(self.kind, self.size, self.objective))


def hello(case: Case, number: int, form: Form, records: int, epochs: dict[int, str]) -> dict[str, Any]:
    """The client's first message."""
    task = form.task
    said = Hello(
        __version__, number, case.cell.victim(), code(case), list(form.in_shape), list(form.in_range),
        task.kind, task.size, task.objective, records, {str(epoch): run for epoch, run in epochs.items()},
    )  # fmt: skip
    return asdict(said)


def heard(facts: dict[str, Any]) -> Hello:
    """The same at the server; BadInput if it is something else."""
    if facts.get("version") != __version__:
        raise BadInput(f"splitleak {facts.get('version')}, the server has {__version__}")
    return cast(Hello, plugins.checked(Hello, facts, "hello"))


def difference(theirs: Hello, case: Case) -> str | None:
    """The first thing in which a client's victim is not the server's: "cut 2, the server has 1"."""
    there, here = _flat(theirs.victim), _flat(case.cell.victim())
    for name in sorted({*there, *here}, key=_rank):
        if there.get(name) != here.get(name):
            return f"{name} {_shown(there.get(name))}, the server has {_shown(here.get(name))}"
    own = code(case)
    for name in sorted({*theirs.sources, *own} - {"torch"}):
        if theirs.sources.get(name) != own.get(name):
            what = f"{name} '{getattr(case.cell, name)['name']}'" if name in ("model", "defense") else f"'{name}'"
            return f"the source of {what} is not the server's"
    return None


def code(case: Case) -> dict[str, str]:
    """The code of the training and of the plug-ins, which must be the same at both ends."""
    return provenance.sources(case, fit.__file__)


def _flat(value: dict[str, Any], before: str = "") -> dict[str, Any]:
    """{"train": {"lr": 0.1}} -> {"train.lr": 0.1}; a plug-in's own name is "model", not "model.name"."""
    found: dict[str, Any] = {}
    for key, inside in value.items():
        name = before if key == "name" and before else f"{before}.{key}" if before else key
        found |= _flat(inside, name) if isinstance(inside, dict) else {name: inside}
    return found


def _rank(name: str) -> tuple[int, str]:
    first = name.partition(".")[0]
    return TOLD.index(first) if first in TOLD else len(TOLD), name


def _shown(value: Any) -> str:
    return "none" if value is None else f"'{value}'" if isinstance(value, str) else str(value)


def one_victim(matrix: str, only: Sequence[str]) -> Case:
    """The one victim of a matrix; no record is loaded for it."""
    raw, who, base = matrices.written(matrix)
    for name in _undecided(raw):
        raise BadInput(f"{who}: dataset '{name}': 'otherwise' lets each end take what it has: name one dataset")
    whole = select(matrices.expand(raw, who, base), only)
    found = {cell.victim_key: cell for cell in whole.cells}
    if len(found) != 1:
        raise BadInput(f"{who}: {len(found)} victims, and the wire trains one: use --only AXIS=VALUE")
    cell = next(iter(found.values()))
    if cell.protocol not in ("vanilla", "u_shape"):
        raise BadInput(f"{who}: under protocol '{cell.protocol}' nothing is split (legal: vanilla, u_shape)")
    if cell.train.curve:
        raise BadInput(f"{who}: [train] curve is not for the wire: utility is taken once, after training")
    return Case.of(cell, whole.base)


def _undecided(raw: dict[str, Any]) -> list[str]:
    blocks = raw.get("matrix", {})
    lists = [block.get("dataset", []) for block in (blocks if isinstance(blocks, list) else [blocks])]
    tables = [table for one in lists if isinstance(one, list) for table in one if isinstance(table, dict)]
    return [str(table.get("name")) for table in tables if "otherwise" in table]
