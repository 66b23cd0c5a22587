"""Whether a row would be made again: the code behind a record is another today. No plug-in file is run to see that."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from splitleak import __version__
from splitleak.jobs import making, scoring
from splitleak.plan import plugins
from splitleak.records import Record
from splitleak.train import provenance

PACKAGE = Path(making.__file__).parents[1]


def stale(record: Record, base: Path) -> bool:
    """The version, the harness or a plug-in has changed, or a plug-in of the package is gone.

    base: where files of plug-ins are looked for that are no longer in the folder of the record's matrix. One that is in
    neither may be as it was: the row is not stale.
    """
    made_by = record.get("made_by", {})
    harness = {name: made_by.get(name, now) for name, now in _harness().items()}
    if record["versions"]["splitleak"] != __version__ or harness != _harness():
        return True
    return any(_changed(kind, record, (Path(record.get("base", ".")), base)) for kind in plugins.FOLDERS)


def _changed(kind: plugins.Kind, record: Record, bases: Iterable[Path]) -> bool:
    name = str(plugins.renamed(kind, record["cell"][kind], Path())["name"])
    files = [_file(kind, name, base) for base in bases]
    found = next((file for file in files if file is not None), None)
    if found is None:
        return name.isidentifier()
    try:
        return provenance.code_hash([found]) != record["hashes"][kind]
    except (SyntaxError, ValueError, OSError, RecursionError):  # no Python any more
        return True


def _file(kind: plugins.Kind, name: str, base: Path) -> Path | None:
    """The file of a plug-in: "./mine.py" below a folder, "pkg.mod:Class", or the name of one that ships."""
    try:
        if name.endswith(".py"):
            path = base / name
        elif name.isidentifier():
            path = PACKAGE / plugins.FOLDERS[kind] / f"{name}.py"
        else:
            return _module_file(name.partition(":")[0])
        return path if path.is_file() else None
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return None


def _module_file(name: str) -> Path | None:
    """Where an installed module lies; nothing is imported, its packages neither."""
    first, *rest = name.split(".")
    spec = find_spec(first) if first.isidentifier() else None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin else None
    roots = [Path(place).joinpath(*rest) for place in spec.submodule_search_locations or ()]
    files = [path for root in roots for path in (root.with_suffix(".py"), root / "__init__.py")]
    return next((path for path in files if path.is_file()), None)


@cache
def _harness() -> dict[str, str]:
    """The code that trains victims and scores attacks, by its name in `made_by`."""
    return {
        name: provenance.code_hash_of(str(module.__file__)) for name, module in (("code", making), ("scoring", scoring))
    }
