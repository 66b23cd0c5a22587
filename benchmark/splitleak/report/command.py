"""What `python -m splitleak.report.NAME MATRIX DIR [OUT.csv]` does: a table of a matrix's records, printed and kept."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from splitleak.options import say, tell
from splitleak.plan import matrix
from splitleak.records import Record
from splitleak.report import csv_file
from splitleak.store import Store

if TYPE_CHECKING:
    import pandas as pd


def print_table(make: Callable[[list[Record]], pd.DataFrame]) -> None:
    """Read the records of a matrix's cells from a results folder, print the table, write it where a CSV is named."""
    name, folder, *csv = sys.argv[1:]
    store = Store(Path(folder), read_only=True)
    found = [store.record(cell.key) for cell in matrix.read(name).cells]
    for warning in store.warnings:
        tell(warning)
    whole = make([cast(Record, record) for record in found if record is not None])
    if csv:
        csv_file.write_table(whole, Path(csv[0]))
    say(whole.to_string(index=False, float_format="%.4f"))
