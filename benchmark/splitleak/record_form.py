"""Whether a record has the documented form: a file with a right checksum may still come from anywhere."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from splitleak.contract.threats import THREATS
from splitleak.printable import shown
from splitleak.records import Record

EVERY = ("schema", "key", "cell", "labels", "hashes", "base", "versions", "status", "why")  # fields of all records
DONE = (
    "utility_metric",
    "utility",
    "utility_floor",
    "metrics",
    "flags",
    "seconds",
)  # of those that are done, beside them


def check(record: dict[str, Any]) -> None:
    """ValueError, in one line, for the first thing that no record may have or lack."""
    try:
        _adapter().validate_python(record)
    except (ValidationError, RecursionError) as error:
        raise ValueError(_one_line(error)) from None
    needed = EVERY + (DONE if record.get("status") == "done" else ())
    _require(record, needed, "it")
    for name in ("dataset", "model", "defense", "attack", "aux"):
        if not isinstance(record["cell"][name].get("name"), str):
            raise ValueError(f"'cell' has no name of the {name}")
    if record["cell"]["threat"] not in THREATS:
        raise ValueError(f"'cell.threat': must be one of {', '.join(THREATS)}, not {shown(record['cell']['threat'])}")
    if record["status"] == "done":
        _require(record["metrics"], ("advantage",), "'metrics'")
    if "null" in record:
        _require(record["null"]["metrics"], ("advantage",), "'null.metrics'")
    if record.get("privacy_unit") is not None:
        known = {name: value for name, value in record.items() if value is not None}
        _require(known, ("multiplicity", "adjacency", "delta"), "its privacy")


def _require(value: dict[str, Any], names: Any, what: str) -> None:
    missing = sorted(name for name in names if name not in value)
    if missing:
        raise ValueError(f"{what} has no '{missing[0]}'")


@cache
def _adapter() -> TypeAdapter[Any]:
    """Strict: no text counts as a number, and every number is finite. Making it takes a tenth of a second."""
    config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")
    return TypeAdapter(with_config(config)(Record))


def _one_line(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"'{where}': {first['msg'].replace('Input should be', 'must be')}, not {shown(first['input'])}"
