"""The panel of a row: its configuration, curve, null run, control, picture, flags in words and how to repeat it."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from splitleak.records import Record
from splitleak.report.flags import MEANINGS
from splitleak.report.html.sources import Curve
from splitleak.report.reported import beside
from splitleak.report.rows import CONTROL
from splitleak.report.victims import Row

ROOM = 8_000_000  # bytes of pictures in a page
LOSS, ERROR = "loss of the victim by epoch", "error of the attack by step"
AXES = ("dataset", "model", "defense", "attack")


def panel(row: Row, records: Sequence[Record], losses: Mapping[str, Curve]) -> dict[str, Any]:
    """What is told about a row beside its cells; of a CSV there are no records."""
    flags = {flag: MEANINGS.get(flag, "") for flag in str(row.get("flags") or "").split()}
    found: dict[str, Any] = {"flags": flags, "published": beside(row, records)}
    if not records:
        return found
    first = next((r for r in records if r["status"] == "done"), records[0])
    if first["cell"]["attack"]["name"] != CONTROL:  # it runs beside every attack
        found["repeat"] = matrix_of(records)
    found["read"] = first.get("read", [])
    found["seeds"] = [
        {"seed": r["cell"]["seed"], "status": r["status"], "why": r.get("why"),
         "advantage": r.get("metrics", {}).get("advantage"), "seconds": r.get("seconds_attack")}
        for r in records
    ]  # fmt: skip
    found["curves"] = list(_curves(records, losses))
    return found


def _curves(records: Sequence[Record], losses: Mapping[str, Curve]) -> Iterator[dict[str, Any]]:
    """Of each seed: the victim's loss by epoch, and the error of an attack that works while the victim is trained."""
    for record in records:
        seed = str(record["cell"]["seed"])
        errors = [(p["step"], float(f"{p['error']:.4g}")) for p in record.get("curve", [])]
        for name, curve in ((LOSS, losses.get(record["key"], [])), (ERROR, errors)):
            if len(curve) > 1:
                yield {"of": name, "seed": seed, "at": [at for at, _ in curve], "value": [value for _, value in curve]}


def matrix_of(records: Sequence[Record]) -> str:
    """A matrix file that makes the records of a row again."""
    cell = records[0]["cell"]
    lines = ["[matrix]", *(f"{axis} = [{_toml(cell[axis])}]" for axis in AXES)]  # type: ignore[literal-required]
    if cell["cut"] is not None:
        lines.append(f"cut = [{cell['cut']}]")
    federated = {"name": "fedavg"} | _plain(cell["federated"]) if "federated" in cell else None
    lines.append(f"protocol = [{_toml(federated or cell['protocol'])}]")
    lines += [f"threat = [{_toml(cell['threat'])}]", f"clients = [{_toml(_plain(cell['clients']))}]"]
    lines.append(f"aux = [{_toml({k: v for k, v in cell['aux'].items() if v is not None})}]")
    lines.append(f"seed = {json.dumps([r['cell']['seed'] for r in records])}")
    for section in ("train", "evaluate"):
        values = {("targets_from" if k == "whose" else k): v for k, v in _plain(cell[section]).items()}
        lines += ["", f"[{section}]", *(f"{name} = {_toml(value)}" for name, value in values.items())]
    return "\n".join(lines)


def _plain(table: Any) -> dict[str, Any]:
    return {name: value for name, value in table.items() if value is not None}


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def pictures(rows: Sequence[tuple[Row, Path, Sequence[Record]]]) -> Iterator[tuple[int, str]]:
    """The picture of a row as data, by its place, until the page's room is used up.

    First come those of different attacks and defences, the strongest first: the room is for all of them.
    """
    order = sorted(range(len(rows)), key=lambda i: -(rows[i][0].get("advantage") or 0))
    seen: Counter[tuple[Any, ...]] = Counter()
    turn = {}
    for i in order:
        kind = tuple(rows[i][0].get(name) for name in ("defense", "attack", "goal"))
        turn[i] = seen[kind]
        seen[kind] += 1
    left = ROOM
    for i in sorted(order, key=turn.__getitem__):
        _, folder, records = rows[i]
        path = next((r["picture"] for r in records if r.get("picture")), None)
        content = _png(folder, path)
        if content is not None and len(content) * 4 / 3 <= left:
            left -= len(content) * 4 // 3
            yield i, "data:image/png;base64," + base64.b64encode(content).decode()


def _png(folder: Path, path: str | None) -> bytes | None:
    """A picture inside the folder; a record may come from anywhere and name any file."""
    if path is None:
        return None
    file = (folder / path).resolve()
    if folder.resolve() not in file.parents or not file.is_file() or file.stat().st_size > ROOM:
        return None
    content = file.read_bytes()
    return content if content.startswith(b"\x89PNG\r\n\x1a\n") else None
