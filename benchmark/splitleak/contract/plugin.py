"""A plug-in is a frozen dataclass in a file of its own; the file's name is its key, its fields its parameters."""

from __future__ import annotations

import dataclasses
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict


class Plugin:
    """Base of attacks, defences, models and datasets: configuration that prints as it is written in a matrix."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    shows_all: ClassVar[bool] = False  # print every parameter, not only those that differ from their default
    formerly: ClassVar[dict[str, Any]] = {}  # name and parameters under which earlier records know this plug-in
    folder: ClassVar[Path] = Path()  # of the matrix that names the plug-in; set on the instance when it is made

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def parameters(self) -> dict[str, Any]:
        """All fields with their values as plain data, defaults filled in; less those `later` ones at their default."""
        fields = [f for f in dataclasses.fields(self) if f.init]  # type: ignore[arg-type]
        told = [f for f in fields if "later" not in f.metadata or getattr(self, f.name) != f.default]
        return {f.name: _plain(getattr(self, f.name)) for f in told}

    def path(self, name: str) -> Path:
        """The file that a parameter names, relative to the folder of the matrix."""
        return self.folder / Path(name).expanduser()

    def sources(self) -> list[Path]:
        """Files beside the plug-in's own that decide what it makes: a victim is trained again when one changes."""
        return []

    def __str__(self) -> str:
        return show(type(self), self.name, self.parameters())


def later(default: Any) -> Any:
    """The default of a field younger than results that are kept: at it, keys and seeds are as if it were not there."""
    return dataclasses.field(default=default, metadata={"later": True})


def show(cls: type[Plugin], name: str, parameters: dict[str, Any]) -> str:
    """`laplace_range(epsilon=5)`: the name and what was chosen."""
    chosen = {k: v for k, v in parameters.items() if cls.shows_all or v != defaults(cls).get(k)}
    inside = ", ".join(f"{k}={_short(v)}" for k, v in chosen.items())
    return f"{name}({inside})" if inside else name


def defaults(cls: type[Plugin]) -> dict[str, Any]:
    """The default of every field that has one."""
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    return {f.name: _plain(f.default) for f in fields if f.default is not dataclasses.MISSING}


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else list(value) if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
