"""What a report is made of: folders of records, and leaderboards as CSV; damaged files are named and left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from splitleak.contract.errors import BadInput
from splitleak.records import Record
from splitleak.report.table import COLUMNS, by_key
from splitleak.report.victims import Row, rows_of
from splitleak.store import Store

if TYPE_CHECKING:
    import pandas as pd

HEAVY = ("made_by", "traceback", "per_target", "per_record", "loss_curve", "utility_curve", "utility_clients")
BOARD = {"defense", "attack", "worst"}  # columns by which a table is known
PUBLISHED = {"paper", "setting", "variant", "metric", "reported", "measured"}
POINTS = 60  # of a curve, at most
Curve = list[tuple[int, float]]  # epoch from 1, mean loss


@dataclass
class Source:
    """A folder of records or a CSV file."""

    path: Path
    rows: list[Row]
    records: dict[int, list[Record]] = field(default_factory=dict)  # of each row by its place
    losses: dict[str, Curve] = field(default_factory=dict)  # of each record by its key
    warnings: list[str] = field(default_factory=list)

    @property
    def versions(self) -> set[str]:
        return {str(row["version"]) for row in self.rows if row.get("version")}


def read(paths: list[Path]) -> list[Source]:
    """All sources; BadInput where one has nothing, or where they are of different versions."""
    found = [source for path in paths for source in _of(path)]
    versions = {version: source.path for source in found for version in source.versions}
    if len(versions) > 1:
        made = ", ".join(f"'{path}' by {version}" for version, path in sorted(versions.items()))
        raise BadInput(f"a report compares figures of one version of splitleak: {made}")
    return found


def _of(path: Path) -> Iterator[Source]:
    if path.suffix == ".csv" and path.is_file():
        yield _board(path)
    elif (path / "records").is_dir():
        yield _folder(path)
    elif boards := [file for file in sorted(path.glob("*.csv")) if _has(file, BOARD)]:
        yield from map(_board, boards)
    else:
        raise BadInput(
            f"'{path}' has no records and no leaderboard; legal: a folder that `splitleak run` wrote, or a CSV"
        )


def _folder(path: Path) -> Source:
    store = Store(path, read_only=True)
    records: list[Record] = []
    losses: dict[str, Curve] = {}
    for key in store.record_keys():
        record = store.record(key)
        if record is not None:
            losses[key] = thinned(record.get("loss_curve") or [])
            records.append(cast(Record, {name: value for name, value in record.items() if name not in HEAVY}))
    if not records:
        raise BadInput(f"'{path}' has no record that can be read{_first(store.warnings)}")
    rows = by_key(records, path)
    return Source(path, [row for row, _ in rows], dict(enumerate(each for _, each in rows)), losses, store.warnings)


def thinned(losses: Sequence[float]) -> Curve:
    """At most POINTS of them, evenly spread, with the first and the last."""
    last = len(losses) - 1
    steps = min(last, POINTS - 1)
    places = [round(i * last / steps) for i in range(steps + 1)] if steps > 0 else range(len(losses))
    return [(place + 1, float(f"{losses[place]:.4g}")) for place in places]


def published(paths: Sequence[Path]) -> list[Row]:
    """The tables of figures of papers beside measured ones, as `splitleak.report.conformance` writes them."""
    import pandas as pd

    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.glob("*.csv")))]
    found: list[Row] = []
    for table in (_table(file) for file in files if _has(file, PUBLISHED)):
        for name in ("reported", "measured"):
            table[name] = pd.to_numeric(table[name], errors="coerce")
        found += rows_of(table.dropna(subset=["reported", "measured"]))
    return found


def _first(warnings: list[str]) -> str:
    return f": {warnings[0]}" if warnings else ""


def _has(file: Path, columns: set[str]) -> bool:
    with file.open(encoding="utf-8", errors="replace") as opened:
        return columns <= set(opened.readline().strip().split(","))


def _table(file: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(file, keep_default_na=False, na_values=[""])
    except (ValueError, OSError) as error:
        raise BadInput(f"'{file}' is no CSV that can be read: {str(error).splitlines()[0]}") from error


def _board(file: Path) -> Source:
    table = _table(file)
    if missing := {"defense", "attack", "worst", "goal", "threat"} - set(table.columns):
        raise BadInput(f"'{file}' is no leaderboard: it has no column {', '.join(sorted(missing))}")
    rows = [{name: row.get(name) for name in COLUMNS} for row in rows_of(table)]
    return Source(file, rows)
