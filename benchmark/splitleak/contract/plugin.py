"""A plug-in is a frozen dataclass in a file of its own; the file's name is its key, its fields its parameters."""

from __future__ import annotations

import dataclasses
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict

Spec = dict[str, Any]  # {"name": ..., parameter: value}


class Plugin:
    """Base of attacks, defences, models and datasets: a configuration that prints as a matrix writes it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    shows_all: ClassVar[bool] = False  # print every parameter, not only those that differ from their default
    formerly: ClassVar[Spec] = {}  # name and parameters under which earlier records know this plug-in
    folder: ClassVar[Path] = Path()  # of the matrix that names the plug-in; set on the instance when it is made

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def parameters(self) -> Spec:
        """All fields with their values as plain data, in canonical form."""
        return canonical(self)

    def spec(self, name: str) -> Spec:
        """The canonical specification, from which keys and seeds are made; `name` as the matrix writes it."""
        return {"name": name} | self.parameters() | self.formerly

    def path(self, name: str) -> Path:
        """The file that a parameter names, relative to the folder of the matrix."""
        return self.folder / Path(name).expanduser()

    def sources(self) -> list[Path]:
        """Files beside the plug-in's own that decide what it makes: a victim is trained again when one changes."""
        return []

    def __str__(self) -> str:
        return show(type(self), self.name, self.parameters())


def later(default: Any) -> Any:
    """The default of a field that was added after results had been kept.

    While the field has this value, keys and seeds are made as if it did not exist, so earlier records stay valid.
    """
    return dataclasses.field(default=default, metadata={"later": True})


def keyed(default: Any, key: str) -> Any:
    """The default of a field that was renamed; keys and seeds are still made from its first name, `key`."""
    return dataclasses.field(default=default, metadata={"key": key})


def canonical(settings: Any) -> Spec:
    """The fields of a dataclass as plain data. Leaves out `later` fields that have their default."""
    fields = [f for f in dataclasses.fields(settings) if f.init]
    kept = [f for f in fields if "later" not in f.metadata or getattr(settings, f.name) != f.default]
    return {f.metadata.get("key", f.name): plain(getattr(settings, f.name)) for f in kept}


def show(cls: type[Plugin], name: str, parameters: Spec) -> str:
    """`laplace_range(epsilon=5)`: the name, and the parameters that differ from their defaults."""
    chosen = {k: v for k, v in parameters.items() if cls.shows_all or v != defaults(cls).get(k)}
    inside = ", ".join(f"{k}={short(v)}" for k, v in chosen.items())
    return f"{name}({inside})" if inside else name


def defaults(cls: type[Plugin]) -> Spec:
    """The default of every field that has one."""
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    return {f.name: plain(f.default) for f in fields if f.default is not dataclasses.MISSING}


def plain(value: Any) -> Any:
    """A parameter's value as JSON holds it."""
    return value.value if isinstance(value, Enum) else list(value) if isinstance(value, tuple) else value


def short(value: Any) -> str:
    """A value as tables print it: 0.001 and not 0.00100000."""
    return f"{value:g}" if isinstance(value, float) else str(value)
