"""Real or synthetic data: what becomes of a dataset in a matrix that says `otherwise`, another one to use in its place.

auto: the first dataset if its files are on this machine, else the other one and a note that says so.
real: the first dataset; where its files are missing, loading it is BadInput. synthetic: always the other one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from splitleak.contract import Dataset
from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.contract.plugin import Spec
from splitleak.plan import plugins
from splitleak.printable import shown

CHOICES = ("auto", "real", "synthetic")


def check_choice(data: str) -> None:
    if data not in CHOICES:
        raise BadInput(f"--data must be {', '.join(CHOICES[:-1])} or {CHOICES[-1]}, not {shown(data)}")


def chosen(specs: list[Any], data: str, base: Path) -> tuple[list[Any], list[str]]:
    """The dataset axis without any `otherwise`, and a note for each dataset that was replaced for want of its files."""
    notes: list[str] = []
    return [_one(spec, data, base, notes) for spec in specs], notes


def _one(spec: Any, data: str, base: Path, notes: list[str]) -> Any:
    if not isinstance(spec, dict) or "otherwise" not in spec:
        return spec
    first, other = first_of(spec), _other(spec)
    missing = _missing(first, base) if data == "auto" else None
    if missing:
        notes.append(f"{missing}; using '{plugins.label('dataset', other, base)}' instead")
    return other if missing or data == "synthetic" else first


def first_of(spec: Spec) -> Spec:
    """A dataset's table without its `otherwise`."""
    return {key: value for key, value in spec.items() if key != "otherwise"}


def _other(spec: Spec) -> Spec:
    other = spec["otherwise"]
    other = {"name": other} if isinstance(other, str) else other
    if not isinstance(other, dict) or not isinstance(other.get("name"), str):
        raise BadInput(
            f"dataset {shown(spec['name'])}: otherwise must be a name or a table with one, not {shown(other)}"
        )
    return other


def _missing(spec: Spec, base: Path) -> FilesMissing | None:
    try:
        cast(Dataset, plugins.make("dataset", spec, base)).locate()
    except FilesMissing as error:
        return error
    return None
