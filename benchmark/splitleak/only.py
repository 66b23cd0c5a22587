"""`--only AXIS=VALUE`: the part of a matrix that a run is limited to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from splitleak.contract.errors import BadInput
from splitleak.plan import plugins
from splitleak.plan.axes import AXES
from splitleak.plan.cell import Cell
from splitleak.plan.matrix import Matrix
from splitleak.printable import shown
from splitleak.records import CellFields
from splitleak.report.labels import aux_label, protocol_label


def select(matrix: Matrix, only: Sequence[str]) -> Matrix:
    """Keep the cells that match every AXIS=VALUE; a value is a name, a number, or a label as tables print it."""
    cells = matrix.cells
    for condition in only:
        axis, equals, value = condition.partition("=")
        if not equals or axis not in AXES:
            raise BadInput(f"--only {shown(condition)}: write AXIS=VALUE (axes: {', '.join(AXES)})")
        names = [[_plain(name) for name in _names(cell, axis, matrix.base)] for cell in cells]
        kept = [cell for cell, own in zip(cells, names, strict=True) if _plain(value) in own]
        if not kept:
            labels = dict.fromkeys(_names(cell, axis, matrix.base)[0] for cell in cells)
            raise BadInput(f"--only {shown(condition)}: no such cell ({axis}: {', '.join(labels)})")
        cells = kept
    return Matrix(cells, matrix.base, matrix.notes)


def _names(cell: Cell, axis: str, base: Path) -> list[str]:
    """The label of a cell's value on an axis, then the other ways to name it."""
    value = getattr(cell, axis)
    if axis in plugins.FOLDERS:
        label = plugins.label(axis, value, base)
        return [label, label.partition("(")[0], str(plugins.renamed(axis, value, base)["name"])]
    if axis == "aux":
        return [aux_label(value), str(value["name"])]
    if axis == "protocol":
        return [protocol_label(cast(CellFields, cell.resolved())), str(value)]
    if axis == "clients":
        return [str(value), str(value.n)]
    return [str(value)]


def _plain(text: str) -> str:
    """Without blanks: `gaussian(epsilon=1,clip=5)` is as good as the label that is printed."""
    return "".join(text.split())
