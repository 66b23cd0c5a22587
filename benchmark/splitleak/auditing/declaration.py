"""What a user declares for an audit: the parts of the network or its messages, the records, and who is who."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from splitleak.contract import threats
from splitleak.contract.errors import BadInput
from splitleak.plan import matrix, plugins
from splitleak.printable import shown
from splitleak.store import write

EXACT = ConfigDict(extra="forbid", strict=True)
Positive = Annotated[int, Field(ge=1)]
TEMPLATE = "audit.toml"
NETWORK = ("client", "weights", "server", "server_weights")  # what the model `own_network` is told
LOG = ("members", "strangers", "aux")  # what the model `logged` is told
RECORDS = ("members", "strangers", "aux", "task", "low", "high")  # what the dataset `own_records` is told


@dataclass(frozen=True)
class People:
    """`[declared]`: what no measurement can tell. It changes no number that is measured."""

    __pydantic_config__: ClassVar[ConfigDict] = EXACT
    holder: str = "the data owner"  # who runs the client
    receiver: str = "the server"  # who gets the messages
    candidates: Positive | None = None  # records that the receiver would have to choose from; None: those measured
    prior: Annotated[float, Field(gt=0, lt=1)] = 0.5  # share of trained-on records among those somebody asks about


@dataclass(frozen=True)
class Declaration:
    """AUDIT.toml. Files are named from its folder."""

    __pydantic_config__: ClassVar[ConfigDict] = EXACT
    members: str  # npz or HDF5: records that the client was trained on
    strangers: str  # the same of records that it was not trained on
    client: str = ""  # FILE.py:FUNCTION that returns an nn.Module; "": not here, the files hold its messages (array z)
    weights: str = ""  # of the client, safetensors; "": those that the function gives it
    server: str = ""  # FILE.py:FUNCTION; "": not known
    server_weights: str = ""
    aux: str = ""  # the attacker's own records; "": half of the strangers
    task: Literal["auto", "classes", "mask", "value"] = "auto"  # what y is
    low: float | None = None  # range of the records' values; None: the least that occurs
    high: float | None = None
    cuts: Literal["all"] | list[Positive] = "all"  # "all": after each child of an nn.Sequential
    defenses: list[Any] = field(default_factory=lambda: ["none"])  # as on the axis `defense` of a matrix
    protocol: Literal["auto", "inference", "vanilla", "u_shape"] = "auto"  # what crosses beside messages, if anything
    threats: list[str] | None = None  # None: all that somebody real could be
    targets: Annotated[int, Field(ge=50)] = 500  # members under attack, at most
    train: dict[str, Any] = field(default_factory=dict)  # `[train]` of a matrix; empty: nothing is trained
    declared: People = field(default_factory=People)

    def network(self) -> dict[str, Any]:
        """The model of a matrix: the network or, in its place, the messages that were written down."""
        if not self.client:
            return {"name": "logged"} | self._given(LOG)
        return {"name": "own_network"} | self._given(NETWORK)

    def records(self) -> dict[str, Any]:
        """The dataset of a matrix."""
        return {"name": "own_records"} | self._given(RECORDS)

    def _given(self, names: tuple[str, ...]) -> dict[str, Any]:
        unset = {f.name: f.default for f in fields(self)}
        return {name: value for name in names if (value := getattr(self, name)) != unset[name]}


def checked(given: dict[str, Any], who: str) -> Declaration:
    """A declaration from plain values; BadInput says in one line what is wrong with them."""
    made: Declaration = plugins.checked(Declaration, given, who)
    if not made.defenses:
        raise BadInput(f"{who}: defenses: at least one, such as 'none'")
    for name in NETWORK:
        if getattr(made, name) and not made.client:
            raise BadInput(f"{who}: {name} needs the client; without one the files hold its messages (array z)")
    for name in made.threats or ():
        if name not in threats.THREATS:
            raise BadInput(f"{who}: threats: no threat {shown(name)} (legal: {', '.join(threats.THREATS)})")
    if made.train and not made.server:
        raise BadInput(f"{who}: [train] needs both parts of the network: client and server")
    return made


def read(path: Path) -> tuple[Declaration, Path]:
    """AUDIT.toml and its folder."""
    who = f"audit {shown(str(path))}"
    if not path.is_file():
        raise BadInput(f"no {who}; `splitleak audit --init` writes one to begin with")
    return checked(matrix.toml_of(path, who), who), path.resolve().parent


def write_template(path: Path) -> None:
    """Write a commented AUDIT.toml; one that is there stays."""
    if path.exists():
        raise BadInput(f"'{path}' is there already; give another name, or remove it")
    write(path, (resources.files("splitleak.auditing") / TEMPLATE).read_bytes())
