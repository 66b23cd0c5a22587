"""Finding plug-ins: a name is a file in a plug-in folder, "pkg.mod:Class" is importable, "./file.py" is a file."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import json
import pkgutil
import sys
from collections.abc import Iterable
from dataclasses import fields
from functools import lru_cache
from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from splitleak.contract import Attack, Dataset, Defense, Goal, Grant, Model
from splitleak.contract.errors import BadInput
from splitleak.contract.plugin import Plugin, Spec, defaults, show

Kind = Literal["dataset", "model", "defense", "attack"]
FOLDERS: dict[Kind, str] = {"dataset": "datasets", "model": "models", "defense": "defenses", "attack": "attacks"}
BASES: dict[Kind, type[Plugin]] = {"dataset": Dataset, "model": Model, "defense": Defense, "attack": Attack}


def names(kind: Kind) -> list[str]:
    """Every plug-in of a kind that ships: the files of its folder that hold one."""
    package = importlib.import_module(f"splitleak.{FOLDERS[kind]}")
    found = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
    return [name for name in found if _own_classes(kind, importlib.import_module(f"{package.__name__}.{name}"))]


def find(kind: Kind, name: str, base: Path) -> type[Plugin]:
    """The class behind a name as written in a matrix; files are looked for from `base`, and read again when changed."""
    if not name.endswith(".py"):
        return _installed(kind, name)
    path = (base / name).resolve()
    if not path.is_file():
        raise BadInput(f"{kind} '{name}': no such file ({path})")
    return _in_file(kind, name, path, hash_of(path))


@lru_cache
def _in_file(kind: Kind, name: str, path: Path, content: str) -> type[Plugin]:
    return _only_class(kind, name, _load_file(kind, name, path))


@lru_cache
def _installed(kind: Kind, name: str) -> type[Plugin]:
    if ":" in name:
        module_name, _, class_name = name.partition(":")
        found = getattr(_import(kind, name, module_name), class_name, None)
        if not (inspect.isclass(found) and issubclass(found, BASES[kind])):
            raise BadInput(f"{kind} '{name}': '{module_name}' has no {BASES[kind].__name__} of that name")
        return found
    if not name.isidentifier() or name not in names(kind):
        raise BadInput(f"no {kind} named '{name}'{did_you_mean(name, names(kind))} ({kind}s: {', '.join(names(kind))})")
    return _only_class(kind, name, importlib.import_module(f"splitleak.{FOLDERS[kind]}.{name}"))


def make(kind: Kind, spec: Spec, base: Path) -> Plugin:
    """The plug-in that {"name": ..., parameter: value} describes, its parameters checked."""
    spec = renamed(kind, spec, base)
    cls = find(kind, spec["name"], base)
    given = {key: value for key, value in spec.items() if key != "name"}
    made = cast(Plugin, checked(cls, given, f"{kind} '{spec['name']}'"))
    object.__setattr__(made, "folder", base)  # where the paths of its parameters start
    for name, wanted in (("goal", Goal), ("needs", Grant)) if kind == "attack" else ():
        if not isinstance(getattr(made, name, None), wanted):
            raise BadInput(f"attack '{spec['name']}': its class must say `{name}`, a {wanted.__name__}")
    return made


def checked(cls: type[Any], given: dict[str, Any], who: str) -> Any:
    """A dataclass made from values that a user wrote, or one line on what is wrong with them."""
    legal = [f.name for f in fields(cls) if f.init]
    for key in given:
        if key not in legal:
            raise BadInput(
                f"{who}: no parameter '{key}'{did_you_mean(key, legal)} (parameters: {', '.join(legal) or 'none'})"
            )
    for key, value in given.items():
        if isinstance(value, float) and not isfinite(value):
            raise BadInput(f"{who}: {key}: must be a finite number, not {value}")
    try:
        return TypeAdapter(cls).validate_json(json.dumps(given, default=str))  # strict, and an int is still a float
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        got = "" if first["type"] == "missing" else f", not {first['input']!r}"
        said = first["msg"].replace("Input should be", "must be")
        raise BadInput(f"{who}: {where}{said[:1].lower()}{said[1:]}{got}") from None
    except PydanticUserError as error:  # an outside plug-in's field of a type that no matrix can write
        raise BadInput(f"{who}: a parameter's type cannot be checked: {str(error).splitlines()[0]}") from None


def renamed(kind: Kind, spec: Spec, base: Path) -> Spec:
    """A specification as an earlier record writes it, under the present name and parameters of the plug-in."""
    if not spec["name"].isidentifier():
        return spec
    for name, cls in _renamed(kind).items():
        former = {"name": name} | cls.formerly
        if all(spec.get(key) == value for key, value in former.items()):
            return {"name": name} | {key: value for key, value in spec.items() if key not in former}
    return spec


@lru_cache
def _renamed(kind: Kind) -> dict[str, type[Plugin]]:
    """The plug-ins that earlier records know under another name or with more parameters."""
    found = {name: _installed(kind, name) for name in names(kind)}
    return {name: cls for name, cls in found.items() if cls.formerly}


def label(kind: Kind, spec: Spec, base: Path) -> str:
    """The plug-in as tables print it: `laplace_range(epsilon=5)`."""
    spec = renamed(kind, spec, base)
    cls = find(kind, spec["name"], base)
    name = Path(spec["name"]).stem if spec["name"].endswith(".py") else spec["name"]
    return show(cls, name, defaults(cls) | {k: v for k, v in spec.items() if k != "name"})


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def did_you_mean(word: str, legal: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(legal), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _load_file(kind: Kind, name: str, path: Path) -> ModuleType:
    unique = f"splitleak_file_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}.{path.stem}"
    spec = importlib.util.spec_from_file_location(unique, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{kind} '{name}': not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise BadInput(f"{kind} '{name}' cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _import(kind: Kind, name: str, module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise BadInput(f"{kind} '{name}': cannot import '{module_name}': {type(error).__name__}: {error}") from error


def _own_classes(kind: Kind, module: ModuleType) -> list[type[Plugin]]:
    classes = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]
    return [c for c in classes if issubclass(c, BASES[kind]) and not inspect.isabstract(c)]


def _only_class(kind: Kind, name: str, module: ModuleType) -> type[Plugin]:
    found = _own_classes(kind, module)
    if len(found) != 1:
        wanted = f"exactly one {BASES[kind].__name__}"
        raise BadInput(f"{kind} '{name}': its file must define {wanted}, it has {len(found)}")
    if "__dataclass_fields__" not in vars(found[0]):
        raise BadInput(f"{kind} '{name}': {found[0].__name__} needs @dataclass(frozen=True)")
    return found[0]
