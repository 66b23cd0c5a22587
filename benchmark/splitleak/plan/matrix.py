"""A matrix file or dict as cells: sections checked, axes multiplied out, every plug-in and parameter checked."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, cast

from splitleak.contract.errors import BadInput, did_you_mean
from splitleak.contract.plugin import Spec
from splitleak.plan import available, axes, cells, plugins
from splitleak.plan.cell import Cell
from splitleak.plan.settings import FEDERATED, AboutSection, Evaluate, Federated, Train

SECTIONS = ("matrix", "train", "evaluate", "about")


@dataclass(frozen=True)
class Matrix:
    """The cells of a matrix, in order; files of plug-ins are named from `base`."""

    cells: list[Cell]
    base: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class About:
    """What a list of matrices shows: the words and minutes of `[about]`, and what the axes say."""

    what: str
    minutes: float | None  # of a whole run on two CPU cores
    datasets: tuple[str, ...]  # names, those after `otherwise` left out
    cells: int


def shipped() -> list[str]:
    """The names of the matrices that come with the package."""
    found = resources.files("splitleak.matrices").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in found if f.name.endswith(".toml"))


def read(source: str | Path | dict[str, Any], base: Path | None = None, data: str = "auto") -> Matrix:
    """A matrix from a path, the name of a shipped one, or a dict of the same form; `data` as in `available`."""
    if isinstance(source, dict):
        return expand(source, "matrix", base or Path.cwd(), data)
    return expand(*written(source), data)


def about(source: str | Path) -> About:
    """What a matrix is about; no file of any dataset is looked for."""
    raw, who, base = written(source)
    whole = expand(raw, who, base, "real")
    section = cast(AboutSection, plugins.checked(AboutSection, raw.get("about", {}), f"{who}: [about]"))
    names = dict.fromkeys(str(cell.dataset["name"]) for cell in whole.cells)
    return About(section.what, section.minutes, tuple(names), len(whole.cells))


def written(source: str | Path) -> tuple[dict[str, Any], str, Path]:
    """The content of a matrix file, its name for messages, and the folder from which its plug-in files are named."""
    path = Path(source)
    if path.suffix != ".toml" and str(source) in shipped():
        text = (resources.files("splitleak.matrices") / f"{source}.toml").read_text(encoding="utf-8")
        return _parse(text, str(source)), f"matrix '{source}'", Path.cwd()
    if not path.is_file():
        hint = did_you_mean(str(source), shipped())
        raise BadInput(f"no matrix '{source}'{hint} (a TOML file, or one that ships: {', '.join(shipped())})")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"matrix '{source}' cannot be read: {error}") from None
    return _parse(text, str(source)), f"matrix '{source}'", path.resolve().parent


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"matrix '{name}' is no TOML: {error}") from None


def expand(raw: dict[str, Any], who: str, base: Path, data: str = "auto") -> Matrix:
    """All axes multiplied out and checked; `who` begins every message of BadInput."""
    available.check_choice(data)
    try:
        return _expand(raw, base, data)
    except BadInput as error:
        raise type(error)(f"{who}: {error}") from None


def _expand(raw: dict[str, Any], base: Path, data: str) -> Matrix:
    blocks = _sections(raw)
    blank = _blank(raw)
    lists = [axes.written(block) for block in blocks]
    axes.refuse_too_many(lists)
    found: list[Cell] = []
    notes: list[str] = []
    for one in lists:
        whole = axes.expanded(one)
        whole["dataset"], replaced = available.chosen(whole["dataset"], data, base)
        notes += replaced
        found += cells.block(whole, blank, base).cells()
    return Matrix(_unique(found), base, tuple(dict.fromkeys(notes)))


def _sections(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """The blocks `[matrix]` or `[[matrix]]`; BadInput for an unknown section or one that is no table."""
    for name, content in raw.items():
        if name not in SECTIONS:
            hint = did_you_mean(name, SECTIONS)
            raise BadInput(f"no section [{name}]{hint} (sections: {', '.join(SECTIONS)})")
        several = name == "matrix" and isinstance(content, list) and bool(content)
        if not all(isinstance(one, dict) for one in (content if several else [content])):
            raise BadInput(f"'{name}' must be a section, [{name}]")
    blocks = raw.get("matrix", {})
    return blocks if isinstance(blocks, list) else [blocks]


def _blank(raw: dict[str, Any]) -> Cell:
    """A cell that has the sections and nothing else."""
    given = raw.get("train", {})
    train = {name: value for name, value in given.items() if name not in FEDERATED}
    federated = {name: value for name, value in given.items() if name in FEDERATED}
    plugins.checked(AboutSection, raw.get("about", {}), "[about]")
    return Cell(
        train=plugins.checked(Train, train, "[train]"),
        evaluate=plugins.checked(Evaluate, raw.get("evaluate", {}), "[evaluate]"),
        federated=plugins.checked(Federated, federated, "[train]"),
    )


def _unique(cells: Iterable[Cell]) -> list[Cell]:
    """Each cell once: the same as by their keys, but a table that many cells share is written as JSON only once."""
    names = [f.name for f in fields(Cell) if f.name not in ("train", "evaluate", "skip")]
    texts: dict[int, tuple[Spec, str]] = {}  # by id: the table is kept beside it, so that no other gets the same one

    def plain(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if id(value) not in texts:
            texts[id(value)] = value, json.dumps(value, sort_keys=True)
        return texts[id(value)][1]

    return list({tuple(plain(getattr(cell, name)) for name in names): cell for cell in cells}.values())
