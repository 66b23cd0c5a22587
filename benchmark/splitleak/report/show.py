"""What a person reads: the table in the terminal, the lists, and the CSV."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from splitleak.contract import threats
from splitleak.contract.errors import BadInput
from splitleak.contract.plugin import defaults
from splitleak.plan import matrix, plugins
from splitleak.store import Store, write

if TYPE_CHECKING:
    import pandas as pd

FOLD = ("dataset", "model", "cut", "protocol", "clients", "aux")  # said once, above the rows that share it


def table(board: pd.DataFrame) -> str:
    """The leaderboard in the width of a terminal: accuracy against leakage, one block for each kind of victim."""
    blocks = []
    for shared, rows in board.groupby(list(FOLD), sort=False, dropna=False):
        dataset, model, cut, protocol, clients, aux = cast(tuple[Any, ...], shared)
        told = "" if cut != cut or cut is None else f", cut {int(cut)}"
        more = ("" if clients == "1" else f", clients {clients}") + ("" if aux == "same" else f", aux {aux}")
        lines = [_line(row) for _, row in rows.iterrows()]
        head = ("defense", "threat", "goal", "attack", rows["utility_metric"].dropna().iloc[:1].to_list())
        names = [*head[:4], (head[4] or ["utility"])[0], "advantage", "reid", "null", "worst", "flags"]
        blocks.append(f"{dataset} / {model}{told}, {protocol}{more}\n{_columns(names, lines)}")
    return "\n\n".join(blocks)


def _line(row: Any) -> list[str]:
    if row["status"] != "done":
        return [row["defense"], row["threat"], row["goal"], row["attack"], row["status"], "", "", "", "", row["flags"]]
    return [
        row["defense"], row["threat"], row["goal"], row["attack"], _number(row["utility"], row["utility_ci95"]),
        _number(row["advantage"], row["advantage_ci95"]), _number(row["reid_top1"]), _number(row["null_advantage"]),
        _number(row["worst"]), row["flags"],
    ]  # fmt: skip


def _number(value: Any, half_width: Any = None) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.3f}" if half_width is None or half_width != half_width else f"{value:.3f}±{half_width:.3f}"


def _columns(names: list[str], lines: list[list[str]]) -> str:
    widths = [max(len(line[i]) for line in (names, *lines)) for i in range(len(names))]
    return "\n".join(
        "  ".join(w.ljust(n) for w, n in zip(line, widths, strict=True)).rstrip() for line in (names, *lines)
    )


def write_csv(board: pd.DataFrame, path: Path) -> None:
    """The CSV: whole or absent, six significant digits."""
    plain = board.copy()
    for name in ("cut", "n_seeds", "bytes_up", "bytes_down"):
        plain[name] = plain[name].astype("Int64")
    write(path, plain.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode())


def summary(make: Callable[[list[dict[str, Any]]], pd.DataFrame]) -> None:
    """What `python -m` of a summary does: a matrix's records in a folder, as a table, and as CSV if told where."""
    name, folder, *csv = sys.argv[1:]
    store = Store(Path(folder))
    found = [store.record(cell.key) for cell in matrix.read(name).cells]
    whole = make([record for record in found if record is not None])
    if csv:
        whole.to_csv(csv[0], index=False, float_format="%.6g")
    typer.echo(whole.to_string(index=False, float_format="%.4f"))


def where(record: dict[str, Any]) -> str:
    """A cell in one line."""
    cell, labels = record["cell"], record["labels"]
    return f"attack '{labels['attack']}' on {labels['dataset']}, defense '{labels['defense']}', seed {cell['seed']}"


def listing(what: str) -> str:
    """One line a thing: its name, what it does, its parameters."""
    special: dict[str, Callable[[], str]] = {"threats": _threats, "matrices": lambda: "\n".join(matrix.shipped())}
    kinds: dict[str, plugins.Kind] = {f"{kind}s": kind for kind in plugins.FOLDERS}
    if what in special:
        return special[what]()
    if what not in kinds:
        legal = [*kinds, *special]
        raise BadInput(f"no list of '{what}'{plugins.did_you_mean(what, legal)} (legal: {', '.join(legal)})")
    kind = kinds[what]
    rows = [
        [name, _first_line(cls), _fields(cls)]
        for name in plugins.names(kind)
        for cls in [plugins.find(kind, name, Path.cwd())]
    ]
    return _columns(["name", "what it does", "parameters"], rows)


def _first_line(cls: type[Any]) -> str:
    module = __import__(cls.__module__, fromlist=["_"])
    return (module.__doc__ or cls.__doc__ or "").strip().splitlines()[0]


def _fields(cls: type[Any]) -> str:
    usual = defaults(cls)
    told = [f"{f.name}={usual[f.name]}" if f.name in usual else f.name for f in dataclasses.fields(cls)]
    return ", ".join(told)


def _threats() -> str:
    rows = []
    for threat in threats.THREATS.values():
        grants = "everything" if threat.grants == threats.EVERYTHING else ", ".join(str(g.name) for g in threat.grants)
        rows.append([threat.name, threat.side, grants])
    return _columns(["name", "side", "grants (what the protocol puts on the wire)"], rows)
