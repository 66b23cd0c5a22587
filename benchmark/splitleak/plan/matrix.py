"""A matrix file or dict as cells: sections checked, axes multiplied out, every plug-in and parameter checked."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, cast

from splitleak.contract.errors import BadInput, did_you_mean
from splitleak.contract.plugin import Spec
from splitleak.plan import available, axes, cells, plugins, suites
from splitleak.plan.cell import Cell
from splitleak.plan.plain_values import plain_values
from splitleak.plan.settings import FEDERATED, AboutSection, Evaluate, Federated, Train
from splitleak.printable import printable, shown
from splitleak.regular_file import require_regular

MAX_BYTES = 1_000_000  # of a file
LONG_KEY = re.compile(r"""(?<![\w"'-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){30}""")  # tomllib takes hours for a very long one
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
    if not isinstance(source, str | Path):
        raise BadInput(f"a matrix is a path, the name of one that ships, or a dict, not {shown(source)}")
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
    path, who = Path(source), f"matrix {shown(str(source))}"
    if path.suffix != ".toml" and str(source) in shipped():
        text = (resources.files("splitleak.matrices") / f"{source}.toml").read_text(encoding="utf-8")
        return _parse(text, who), who, Path.cwd()
    if not os.path.exists(path) or path.is_dir():  # the first is False, and no error, for any text
        hint = did_you_mean(str(source), shipped())
        raise BadInput(f"no {who}{hint} (a TOML file, or one that ships: {', '.join(shipped())})")
    return toml_of(path, who), who, path.resolve().parent


def toml_of(path: Path, who: str) -> dict[str, Any]:
    """The content of a TOML file of the user's; BadInput in a line that begins with `who`."""
    return _parse(_text_of(path, who), who)


def _text_of(path: Path, who: str) -> str:
    """The text of a matrix file; a mark of the byte order at its start is left out."""
    try:
        require_regular(path)
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise BadInput(f"{who} is larger than {MAX_BYTES:,} bytes, the most that it may have")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"{who} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{who} cannot be read: {error.reason} at byte {error.start}; legal: text in UTF-8") from None


def _parse(text: str, who: str) -> dict[str, Any]:
    try:
        if LONG_KEY.search(text):
            raise ValueError("a key has 30 parts or more")
        return tomllib.loads(text)
    except RecursionError:
        raise BadInput(f"{who} is no TOML that can be read: lists or tables are too deep") from None
    except ValueError as error:  # a fault of the form, or a number of too many digits
        raise BadInput(f"{who} is no TOML: {printable(str(error))}") from None


def expand(raw: dict[str, Any], who: str, base: Path, data: str = "auto") -> Matrix:
    """All axes multiplied out and checked; `who` begins every message of BadInput."""
    available.check_choice(data)
    try:
        return _expand(plain_values(raw), base, data)
    except BadInput as error:
        raise type(error)(f"{who}: {error}") from None


def _expand(raw: dict[str, Any], base: Path, data: str) -> Matrix:
    blocks = _sections(raw)
    blank = _blank(raw)
    lists = [axes.written(block) for block in blocks]
    axes.refuse_too_many(lists, suites.size)
    found: list[Cell] = []
    notes: list[str] = []
    expanded = [axes.expanded(one) for one in lists]
    if "control" not in raw.get("evaluate", {}) and any(suites.on_axis(whole["attack"]) for whole in expanded):
        blank = replace(blank, evaluate=replace(blank.evaluate, control=True))
    for whole in expanded:
        whole["dataset"], replaced = available.chosen(whole["dataset"], data, base)
        notes += replaced
        block = cells.block(whole, blank, base)
        made = list(block.cells())
        found += made
        notes += block.left_out(made)
    return Matrix(_unique(found), base, tuple(dict.fromkeys(notes)))


def _sections(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """The blocks `[matrix]` or `[[matrix]]`; BadInput for an unknown section or one that is no table."""
    for name, content in raw.items():
        if name not in SECTIONS:
            hint = did_you_mean(name, SECTIONS)
            raise BadInput(f"no section [{shown(name)[1:-1]}]{hint} (sections: {', '.join(SECTIONS)})")
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
    names = [f.name for f in fields(Cell) if f.name not in ("train", "evaluate", "skip", "optional")]
    texts: dict[int, tuple[Spec, str]] = {}  # by id: the table is kept beside it, so that no other gets the same one

    def plain(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if id(value) not in texts:
            texts[id(value)] = value, json.dumps(value, sort_keys=True)
        return texts[id(value)][1]

    return list({tuple(plain(getattr(cell, name)) for name in names): cell for cell in cells}.values())
