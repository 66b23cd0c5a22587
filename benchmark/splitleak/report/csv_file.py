"""Every CSV file is written here: whole or absent, one line for each row, and no text that a spreadsheet computes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from splitleak.printable import printable
from splitleak.store import write

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a text that begins with one of these for a formula


def write_table(table: pd.DataFrame, path: Path, digits: str = "%.6g") -> None:
    """Write a table without its index. Numbers are written as numbers, texts as texts."""
    import pandas as pd

    plain = table.copy()
    for name in plain:
        plain[name] = pd.Series([inert(value) for value in plain[name]], plain.index, plain[name].dtype)
    plain = plain.rename(columns=inert)
    write(path, plain.to_csv(index=False, float_format=digits, lineterminator="\n").encode())


def inert(value: Any) -> Any:
    """A text on one line, behind an apostrophe where it would be a formula; anything else as it is."""
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(FORMULA) else printable(value)
