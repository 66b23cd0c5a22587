"""The house: imports run one way from room to room, without a circle, and files and functions stay short."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

PACKAGE = Path(__file__).parents[1] / "benchmark" / "splitleak"
ROOMS = (  # a file may import from its own room and from rooms that stand before it
    ("printable",),
    ("contract",),
    ("store", "sealed", "record_form", "snapshot", "nets", "pieces", "vision", "loading", "apart", "process_settings",
     "records", "matrices", "suites", "options", "regular_file"),
    ("postponed",),
    ("attacks", "defenses", "models", "datasets"),
    ("plan",), ("train",), ("score",), ("jobs",), ("report",),
    ("only", "main_guard", "api"),
    ("auditing",),
    ("wire",),
    ("cli", "__main__"),
)  # fmt: skip
ORDER = {name: place for place, names in enumerate(ROOMS) for name in names}
LAZY = "__init__"  # of the package: it names what is public and imports nothing before it is used


def files() -> dict[str, Path]:
    """Every file of the package by its dotted name, plug-ins included."""
    linked = [path for name in ("attacks", "defenses", "models") for path in (PACKAGE / name).resolve().rglob("*.py")]
    own = [path for path in PACKAGE.rglob("*.py") if not any(parent.is_symlink() for parent in path.parents)]
    found = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in own}
    return found | {f"{path.parent.name}.{path.stem}": path for path in linked}


FILES = files()


def imported(path: Path) -> Iterator[str]:
    """Dotted names of the files of the package that a file imports, also for type checking alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "splitleak":
            module = (node.module or "").removeprefix("splitleak").lstrip(".")
            for alias in node.names:
                whole = f"{module}.{alias.name}".lstrip(".")
                name = whole if whole in FILES or f"{whole}.__init__" in FILES else module
                if name:
                    yield name if name in FILES else f"{name}.__init__"


GRAPH = {name: set(imported(path)) for name, path in FILES.items() if name != LAZY}


def room(name: str) -> str:
    return name.partition(".")[0]


def test_every_file_belongs_to_a_room() -> None:
    assert len(FILES) > 150
    assert {room(name) for name in FILES} - {LAZY} == ORDER.keys()


def test_imports_run_one_way() -> None:
    against = [(name, other) for name, others in GRAPH.items() for other in others
               if ORDER[room(other)] > ORDER[room(name)]]  # fmt: skip
    assert against == []


def test_no_file_imports_itself_through_others() -> None:
    list(graphlib.TopologicalSorter(GRAPH).static_order())


def test_an_import_against_the_order_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "late.py"
    file.write_text("def f():\n    from splitleak.jobs import worker\n    from splitleak import plan, __version__\n")
    assert list(imported(file)) == ["jobs.worker", "plan.__init__"]


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}.{node.name}", node


def test_files_and_functions_stay_short() -> None:
    lengths = [len(path.read_text().splitlines()) for path in FILES.values()]
    spans = [(node.end_lineno or 0) - node.lineno + 1 for _, node in functions()]
    assert np.percentile(lengths, 90) <= 150
    assert max(lengths) <= 300
    assert np.percentile(spans, 90) <= 20
    assert max(spans) <= 60


def test_no_function_takes_more_than_seven_arguments() -> None:
    many = []
    for name, node in functions():
        named = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        if len([arg for arg in named if arg not in ("self", "cls")]) > 7:
            many.append(name)
    assert many == []


@pytest.mark.parametrize("link", ["attacks", "defenses", "models"])
def test_plugin_folders_are_reached_from_the_package(link: str) -> None:
    assert (PACKAGE / link).is_symlink()
    assert (PACKAGE / link).resolve() == PACKAGE.parents[1] / link


def test_help_and_the_public_door_need_no_torch() -> None:
    code = "import sys, splitleak, splitleak.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
