"""What `python -m splitleak.report.NAME MATRIX DIR [OUT.csv]` does: a table of a matrix's records, printed and kept."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from splitleak.contract.errors import BadInput
from splitleak.options import say, tell
from splitleak.plan import matrix
from splitleak.printable import shown
from splitleak.records import Record
from splitleak.report import csv_file
from splitleak.store import Store

if TYPE_CHECKING:
    import pandas as pd


def arguments(*wanted: str) -> list[str]:
    """The words of the command line, one for each name; those in brackets may be missing. Else a line, and status 2."""
    given, module = sys.argv[1:], Path(sys.argv[0]).stem
    least = sum(not name.startswith("[") for name in wanted)
    if not least <= len(given) <= len(wanted) or any(word.startswith("-") for word in given):
        tell(f"usage: python -m splitleak.report.{module} {' '.join(wanted)}")
        sys.exit(2)
    return given


def print_table(make: Callable[[list[Record]], pd.DataFrame]) -> None:
    """Read the records of a matrix's cells from a results folder, print the table, write it where a CSV is named."""
    name, folder, *csv = arguments("MATRIX", "DIR", "[OUT.csv]")
    try:
        found = _records(name, Path(folder))
    except BadInput as error:
        tell(str(error))
        sys.exit(2)
    whole = make(found)
    if csv:
        csv_file.write_table(whole, Path(csv[0]))
    say(whole.to_string(index=False, float_format="%.4f"))


def _records(name: str, folder: Path) -> list[Record]:
    store = Store(folder, read_only=True)
    found = [store.record(cell.key) for cell in matrix.read(name).cells]
    for warning in store.warnings:
        tell(warning)
    if not any(found):
        raise BadInput(f"no record of matrix {shown(name)} in {shown(str(folder))}")
    return [cast(Record, record) for record in found if record is not None]
