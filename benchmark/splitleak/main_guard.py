"""Refuse to start worker processes from a script that would start them again in every worker.

A worker process imports the script that started the run. A script that calls `run(..., workers=2)` outside of
`if __name__ == "__main__":` would therefore call it in each worker, which Python answers with a RuntimeError in every
one of them. A notebook has no file to import, so it is not concerned.
"""

from __future__ import annotations

import ast
import multiprocessing
import sys
from pathlib import Path
from types import FrameType

from splitleak.contract.errors import BadInput

GUARDS = ("__name__", "current_process")  # names in the condition of an `if` that keeps workers out


def need_main_guard(workers: int) -> None:
    """Raise BadInput where `workers` processes would run the calling script again."""
    if workers < 2 or not (_is_starting() or _unguarded(sys._getframe())):
        return
    script = Path(getattr(sys.modules["__main__"], "__file__", None) or "the script").name
    raise BadInput(
        f"run(workers={workers}) starts processes that import {script} again: put the call under "
        '`if __name__ == "__main__":`, or write workers=1'
    )


def _is_starting() -> bool:
    """Is this a worker process that is still importing the script?"""
    return bool(getattr(multiprocessing.current_process(), "_inheriting", False))


def _unguarded(frame: FrameType | None) -> bool:
    """Was this call made by a statement of the main script that stands under no guard?"""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__":
            spec = frame.f_globals.get("__spec__")
            if spec is not None and spec.name.endswith("__main__"):  # python -m package: workers do not import it
                return False
            return _without_guard(frame.f_globals.get("__file__"), frame.f_lineno)
        frame = frame.f_back
    return False


def _without_guard(file: str | None, line: int) -> bool:
    if file is None:  # a notebook, or standard input
        return False
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SyntaxError):  # a zip file, a compiled script
        return False
    return not any(
        isinstance(node, ast.If) and node.lineno <= line <= (node.end_lineno or 0) and _is_guard(node.test)
        for node in ast.walk(tree)
    )


def _is_guard(test: ast.expr) -> bool:
    names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    return bool({*names, *(node.attr for node in ast.walk(test) if isinstance(node, ast.Attribute))} & set(GUARDS))
