"""What a result was made by: hashes of code and records. If one has changed, the result is made again.

The code of something is its source file and every file of the package, or beside it, that it imports, directly or not.
Comments, docstrings and blank lines do not count: a change of words makes no result out of date.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import torch

from splitleak.contract.plugin import Plugin
from splitleak.plan.case import Case
from splitleak.store import digest

PACKAGE = Path(__file__).parents[1]
Hashes = dict[str, str]


def made_by(case: Case, records: str, device: str, maker: str) -> Hashes:
    """Everything behind a victim's weights and facts except its cell.

    records: hash of all records of the dataset, see `data_digest`; device: where it is trained, "cpu" or "cuda"; maker:
    the source file that makes it.
    """
    return {"dataset": code_and_files_of(case.dataset), "data": records, "device": device} | sources(case, maker)


def sources(case: Case, maker: str) -> Hashes:
    """The part that has nothing to do with records."""
    plugins = {"model": code_and_files_of(case.model), "defense": code_and_files_of(case.defense)}
    return plugins | {"code": code_hash_of(maker), "torch": torch.__version__}


def code_of(plugin: type[Plugin]) -> str:
    """The code of a plug-in."""
    return code_hash([Path(inspect.getfile(plugin))])


def code_and_files_of(plugin: Plugin) -> str:
    """The code of a plug-in, and the files that its parameters name."""
    own = code_of(type(plugin))
    named = [hashlib.sha256(path.read_bytes()).hexdigest() for path in plugin.sources() if path.is_file()]
    return digest([own, *named])[:16] if named else own


def code_hash_of(file: str) -> str:
    """The same of one file, named as a module's `__file__`."""
    return code_hash([Path(file)])


def code_hash(files: Iterable[Path]) -> str:
    """A hash of the code in these files and in all that they import."""
    codes = sorted(_code(path) for path in closure(files))
    return hashlib.sha256("\n".join(codes).encode()).hexdigest()[:16]


def closure(files: Iterable[Path]) -> set[Path]:
    """These files and every file of the package, or beside them, that they import, directly or not."""
    found: set[Path] = set()
    waiting = [path.resolve() for path in files]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path)
    return found


def _code(path: Path) -> str:
    return _read(path, path.stat().st_mtime_ns)[0]


def _imported(path: Path) -> tuple[Path, ...]:
    return _read(path, path.stat().st_mtime_ns)[1]


@cache
def _read(path: Path, changed: int) -> tuple[str, tuple[Path, ...]]:
    """The hash of a file's code, and the files that it imports."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    code = hashlib.sha256(code_only(text, tree).encode()).hexdigest()
    return code, tuple(file for name in _names(tree) if (file := _file(name, path.parent)) is not None)


def code_only(text: str, tree: ast.Module) -> str:
    """A source text without comments, docstrings and blank lines; the rest stays as it is written."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for first, last in _docstrings(tree):
        lines[first - 1 : last] = [""] * (last - first + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """First and last line of each docstring."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            yield node.body[0].lineno, node.body[0].end_lineno or node.body[0].lineno


def _names(tree: ast.Module) -> list[str]:
    """Dotted names of imported modules; a name imported from a package may be a module too."""
    found = []
    typing_only = {id(node) for block in ast.walk(tree) if _is_typing_only(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def _is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _file(name: str, folder: Path) -> Path | None:
    """The file of a module of the package, or of one that lies beside a plug-in file outside the package."""
    first, *rest = name.split(".")
    root = PACKAGE.joinpath(*rest) if first == "splitleak" else folder.joinpath(first, *rest)
    if first != "splitleak" and (folder / "__init__.py").is_file():
        return None  # inside a package other names are libraries
    for path in (root.with_suffix(".py"), root / "__init__.py"):
        if path.is_file():
            return path.resolve()
    return None
