"""Finding plug-ins: a name is a file in a plug-in folder, "pkg.mod:Class" is importable, "./file.py" is a file.

A file of the user may define one plug-in of each kind, and may import other files of its folder.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import pkgutil
from dataclasses import fields
from functools import lru_cache
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from splitleak.contract import Attack, Dataset, Defense, Goal, Grant, Model
from splitleak.contract.errors import BadInput, did_you_mean
from splitleak.contract.methods import check_methods
from splitleak.contract.plugin import Plugin, Spec, defaults, show
from splitleak.loading import load_file, one_line
from splitleak.printable import shown
from splitleak.process_settings import unchanged

Kind = Literal["dataset", "model", "defense", "attack"]
FOLDERS: dict[Kind, str] = {"dataset": "datasets", "model": "models", "defense": "defenses", "attack": "attacks"}
BASES: dict[Kind, type[Plugin]] = {"dataset": Dataset, "model": Model, "defense": Defense, "attack": Attack}


def names(kind: Kind) -> list[str]:
    """Every plug-in of a kind that ships: the files of its folder that hold one."""
    package = importlib.import_module(f"splitleak.{FOLDERS[kind]}")
    found = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
    return [name for name in found if _own_classes(kind, importlib.import_module(f"{package.__name__}.{name}"))]


def find(kind: Kind, name: str, base: Path) -> type[Plugin]:
    """The class that a name in a matrix stands for. A file is relative to `base`, and is read again when it changes."""
    if name.endswith(".py"):
        return _only_class(kind, name, load_file(base / name, f"{kind} {shown(name)}"))
    return _installed(kind, name)


@lru_cache
def _installed(kind: Kind, name: str) -> type[Plugin]:
    if ":" in name:
        module_name, _, class_name = name.partition(":")
        found = getattr(_import(kind, name, module_name), class_name, None)
        if not (inspect.isclass(found) and issubclass(found, BASES[kind])):
            raise BadInput(f"{kind} {shown(name)}: {shown(module_name)} has no {BASES[kind].__name__} of that name")
        return found
    if not name.isidentifier() or name not in names(kind):
        raise BadInput(
            f"no {kind} named {shown(name)}{did_you_mean(name, names(kind))} ({kind}s: {', '.join(names(kind))})"
        )
    return _only_class(kind, name, importlib.import_module(f"splitleak.{FOLDERS[kind]}.{name}"))


def make(kind: Kind, spec: Spec, base: Path) -> Plugin:
    """Make the plug-in that {"name": ..., parameter: value} describes, and check its parameters."""
    spec = renamed(kind, spec, base)
    cls = find(kind, spec["name"], base)
    given = {key: value for key, value in spec.items() if key != "name"}
    who = f"{kind} {shown(spec['name'])}"
    check_methods(cls, BASES[kind], who)
    with unchanged():
        made = cast(Plugin, checked(cls, given, who))
    object.__setattr__(made, "folder", base)  # where the paths of its parameters start
    for name, wanted in (("goal", Goal), ("needs", Grant)) if kind == "attack" else ():
        if not isinstance(getattr(made, name, None), wanted):
            raise BadInput(f"attack '{spec['name']}': its class must say `{name}`, a {wanted.__name__}")
    if isinstance(made, Attack) and not (isinstance(made.tasks, tuple) and all(t in Attack.tasks for t in made.tasks)):
        raise BadInput(f"attack '{spec['name']}': `tasks` must be a tuple of {', '.join(Attack.tasks)}")
    if isinstance(made, Attack) and Grant.SHADOWS in made.needs and not _is_even(made.shadows):
        raise BadInput(f"attack '{spec['name']}': it needs SHADOWS, so `shadows` must be an even number from 2")
    return made


def _is_even(number: object) -> bool:
    return type(number) is int and number >= 2 and number % 2 == 0


def checked(cls: type[Any], given: dict[str, Any], who: str) -> Any:
    """Make a dataclass from values that a user wrote; BadInput says in one line what is wrong with them."""
    legal = [f.name for f in fields(cls) if f.init]
    for key in given:
        if key not in legal:
            raise BadInput(
                f"{who}: no parameter {shown(key)}{did_you_mean(key, legal)} (parameters: {', '.join(legal) or 'none'})"
            )
    for key, value in given.items():
        if isinstance(value, float) and not isfinite(value):
            raise BadInput(f"{who}: {key}: must be a finite number, not {value}")
    try:
        # as JSON: strict, and an int is still a float
        return _adapter(cast(Any, cls)).validate_json(json.dumps(given, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        got = "" if first["type"] == "missing" else f", not {shown(first['input'])}"
        problem = first["msg"].replace("Input should be", "must be")
        raise BadInput(f"{who}: {where}{problem[:1].lower()}{problem[1:]}{got}") from None
    except PydanticUserError as error:  # an outside plug-in's field of a type that no matrix can write
        raise BadInput(f"{who}: a parameter's type cannot be checked: {str(error).splitlines()[0]}") from None


@lru_cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    """Making an adapter takes longer than using it."""
    return TypeAdapter(cls)


def renamed(kind: Kind, spec: Spec, base: Path) -> Spec:
    """The present name and parameters of a plug-in, for a specification that an earlier record or matrix wrote."""
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
    """The plug-in as tables print it: `laplace_range(epsilon=5)`.

    A file of the user's is printed without its `.py`, unless a plug-in that ships has that name: `blind.py` is no
    control, and `none.py` is not the undefended victim.
    """
    spec = renamed(kind, spec, base)
    cls = find(kind, spec["name"], base)
    name = str(spec["name"])
    if name.endswith(".py"):
        name, stem = Path(name).name, Path(name).stem
        name = name if stem.isidentifier() and find_spec(f"splitleak.{FOLDERS[kind]}.{stem}") else stem
    return show(cls, name, defaults(cls) | {k: v for k, v in spec.items() if k != "name"})


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _import(kind: Kind, name: str, module_name: str) -> ModuleType:
    try:
        with unchanged():
            return importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise BadInput(f"{kind} {shown(name)}: cannot import {shown(module_name)}: {one_line(error)}") from error


def _defined(kind: Kind, module: ModuleType) -> list[type[Plugin]]:
    """Classes of a kind that are written in the module itself, not imported into it; abstract ones included."""
    classes = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]
    return [c for c in dict.fromkeys(classes) if issubclass(c, BASES[kind])]


def _own_classes(kind: Kind, module: ModuleType) -> list[type[Plugin]]:
    return [c for c in _defined(kind, module) if not inspect.isabstract(c)]


def _only_class(kind: Kind, name: str, module: ModuleType) -> type[Plugin]:
    """The one class of a kind; a file may define one of each kind."""
    found = _own_classes(kind, module)
    if len(found) != 1:
        wanted = f"must define exactly one {BASES[kind].__name__}"
        raise BadInput(f"{kind} {shown(name)}: its file {wanted}; it defines {_contents(module)}")
    if "__dataclass_fields__" not in vars(found[0]):
        raise BadInput(f"{kind} {shown(name)}: {found[0].__name__} needs @dataclass(frozen=True)")
    return found[0]


def _contents(module: ModuleType) -> str:
    """All plug-ins that a file defines: `Dataset D, Attack A without its method run`."""
    found = []
    for kind, base in BASES.items():
        for cls in _defined(kind, module):
            missing = " and ".join(sorted(getattr(cls, "__abstractmethods__", ())))
            found.append(f"{base.__name__} {cls.__name__}" + (f" without its method {missing}" if missing else ""))
    return ", ".join(found) or "no plug-in"
