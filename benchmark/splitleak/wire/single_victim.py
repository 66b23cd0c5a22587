"""The one victim that a matrix describes for `serve` and `join`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from splitleak.contract.errors import BadInput
from splitleak.only import select
from splitleak.plan import matrix as matrices
from splitleak.plan.case import Case


def single_victim(matrix: str, only: Sequence[str]) -> Case:
    """Read the matrix and check that it has exactly one victim, split in two; no record is loaded."""
    raw, who, base = matrices.written(matrix)
    for name in _undecided(raw):
        problem = "with 'otherwise' two ends may load different datasets"
        raise BadInput(f"{who}: dataset '{name}': {problem}; name one dataset")
    whole = select(matrices.expand(raw, who, base), only)
    found = {cell.victim_key: cell for cell in whole.cells}
    if len(found) != 1:
        raise BadInput(
            f"{who}: it has {len(found)} victims, serve and join train one: choose it with --only AXIS=VALUE"
        )
    cell = next(iter(found.values()))
    if cell.protocol not in ("vanilla", "u_shape"):
        raise BadInput(f"{who}: protocol '{cell.protocol}' does not split the network (legal: vanilla, u_shape)")
    if cell.train.curve:
        raise BadInput(f"{who}: serve and join measure utility once, after training; remove `curve` from [train]")
    return Case.of(cell, whole.base)


def _undecided(raw: dict[str, Any]) -> list[str]:
    """The datasets of a matrix that name another one for machines without their files."""
    blocks = raw.get("matrix", {})
    lists = [block.get("dataset", []) for block in (blocks if isinstance(blocks, list) else [blocks])]
    tables = [table for one in lists if isinstance(one, list) for table in one if isinstance(table, dict)]
    return [str(table.get("name")) for table in tables if "otherwise" in table]
