"""Networks of the user: a function in a Python file, and blocks that can be cut apart."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch import nn

from splitleak.contract import BadInput
from splitleak.loading import load_file, one_line


def function_in(file: Path, written: str, who: str) -> Callable[[], Any]:
    """The function that FILE.py:FUNCTION names; `written` is what stands in the matrix."""
    name = written.rpartition(":")[2]
    function = getattr(load_file(file, who), name, None)
    if not callable(function):
        raise BadInput(f"{who}: the file has no function '{name}'")
    return function  # type: ignore[no-any-return]


def called(function: Callable[[], Any], who: str) -> Any:
    """What the function returns."""
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise BadInput(f"{who} raised {one_line(error)}") from error


def separate(children: Iterable[nn.Module], who: str) -> list[nn.Module]:
    """The children of a network, none of which shares anything with another or works in place.

    A function may return the same network twice, and a network may hold the same child twice. A child that works in
    place would overwrite what was sent.
    """
    children = list(children)
    owners = Counter(id(p) for block in children for p in {*block.parameters()})
    if any(count > 1 for count in owners.values()):
        raise BadInput(f"{who}: two children share weights; each must have its own, because a cut may part them")
    blocks = [copy.deepcopy(block) for block in children]
    for module in (module for block in blocks for module in block.modules()):
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    return blocks
