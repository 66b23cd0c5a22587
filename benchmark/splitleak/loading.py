"""Python files of the user: loaded by path, each with its folder importable, and loaded again when one has changed.

`import helper` in a loaded file means `helper.py` of the same folder if there is one, else what is installed. Every
file becomes a module with a unique name, made from its path, and `sys.path` does not change: two folders may both have
a `helper.py`, and no file of theirs can hide an installed package from other code. Packages (folders) beside a file
are not importable from it.
"""

from __future__ import annotations

import builtins
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from splitleak.contract.errors import BadInput, text_of
from splitleak.printable import in_a_line, shown
from splitleak.process_settings import unchanged


class _Loaded:
    """A module, the hash of the file that it was made from, and the files of its folder that it imports."""

    def __init__(self, path: Path) -> None:
        self.path, self.content, self.imports = path, _hash_of(path), set[Path]()
        unique = f"splitleak_file_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}.{path.stem}"
        self.loader = _Loader(unique, str(path))
        spec = spec_from_loader(unique, self.loader)
        if spec is None:
            raise ImportError(f"'{path}' is no Python file")
        self.module = module_from_spec(spec)
        vars(self.module)["__builtins__"] = vars(builtins) | {"__import__": self._import}

    def execute(self) -> None:
        sys.modules[self.module.__name__] = self.module  # dataclasses and pydantic look a class's module up there
        self.loader.exec_module(self.module)

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        """As Python's `__import__`, but a file of the same folder comes first."""
        sibling = self.path.with_name(f"{name}.py")
        if level or sibling == self.path or not sibling.is_file():
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        self.imports.add(sibling)
        return _module_of(sibling)


class _Loader(SourceFileLoader):
    """Compiles the source each time: kept bytecode is taken for current when size and second of change are equal."""

    def path_stats(self, path: str) -> Any:
        raise OSError


_loaded: dict[Path, _Loaded] = {}


def load_file(path: Path, who: str) -> ModuleType:
    """The module of a Python file; the same one until the file, or one that it imports from its folder, changes.

    Errors: BadInput in one line that begins with `who`, such as "model './net.py'".
    """
    if not os.path.isfile(path):  # False, and no error, also for a name that is too long and for a loop of links
        raise BadInput(f"{who}: no such file ({shown(os.path.abspath(path), 300)[1:-1]})")
    path = path.resolve()
    try:
        with unchanged():
            return _module_of(path)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise BadInput(f"{who} cannot be imported: {one_line(error)}") from error


def files_of(path: Path) -> list[Path]:
    """A loaded file and all files of its folder that it imports, directly or through others; sorted."""
    found, waiting = set[Path](), [path.resolve()]
    while waiting:
        if (file := waiting.pop()) not in found:
            found.add(file)
            waiting += _loaded[file].imports if file in _loaded else ()
    return sorted(found)


def one_line(error: BaseException) -> str:
    """An exception as `Type: text`, without line breaks."""
    return in_a_line(" ".join(f"{type(error).__name__}: {text_of(error)}".split()))


def _module_of(path: Path) -> ModuleType:
    if path in _loaded and all(f in _loaded and _hash_of(f) == _loaded[f].content for f in files_of(path)):
        return _loaded[path].module
    _loaded[path] = made = _Loaded(path)
    try:
        made.execute()
    except BaseException:
        del _loaded[path], sys.modules[made.module.__name__]
        raise
    return made.module


def _hash_of(path: Path) -> str:
    """Empty where there is no file any more."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
